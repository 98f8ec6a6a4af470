// The page: what the controls do, and what is shown when. Also `window.unisal`, for scripts.

import { Boxes } from "./boxes.js";
import { Engine } from "./engine.js";
import { Player } from "./player.js";
import { csvOf, jsonOf, save } from "./save.js";
import { SourceError, openCamera, openFile, openSample, shown } from "./sources.js";
import { startTheme } from "./theme.js";
import { Heat, View } from "./view.js";

const $ = (id) => document.getElementById(id);

let source = null, player = null, map = null;
let opened = 0; // counts, so that what comes late for an older input is dropped
let backend = "";

startTheme($("theme"));
$("status").textContent = "Loading the model…";

const site = await readSite();
const engine = new Engine(site);
const [over, alone] = ["over", "alone"].map((id) => $(id).querySelector("canvas"));
const view = new View(new Heat(site.heat), over, alone);
const boxes = new Boxes(["over", "alone"].map((id) => $(id).querySelector(".layer")), $("boxes"), showSaves);

engine.started.then(
  (name) => {
    backend = name;
    if (!source) say("Ready.");
  },
  (error) => fail(error),
);

async function readSite() {
  try {
    return await (await fetch("site.json")).json();
  } catch (error) {
    fail(new SourceError("The page is incomplete: its file site.json cannot be read."));
    throw error;
  }
}

// Opening

async function open(opening) {
  const number = ++opened;
  closeSource();
  hideError();
  say("Opening…");
  try {
    const found = await opening();
    if (number !== opened) return found.close();
    source = found;
    showSource();
    if (found.kind === "image") {
      await lookAt(await createImageBitmap(found.pixels), { model: "image", full: true });
    } else {
      startPlayer(found, number);
      found.ended?.then(() => {
        if (number !== opened) return;
        player.pause();
        fail(new SourceError("The camera has stopped."));
      });
      await player.first();
      if (found.kind === "camera" && number === opened) player.play();
    }
  } catch (error) {
    if (number !== opened) return;
    closeSource();
    showStart();
    fail(error);
  }
}

function closeSource() {
  player?.close();
  source?.close();
  player = source = map = null;
  showSaves();
}

function showStart() {
  $("work").hidden = true;
  $("start").hidden = false;
}

function showSource() {
  $("start").hidden = true;
  $("work").hidden = false;
  $("transport").hidden = source.kind === "image";
  $("seek").hidden = $("time").hidden = source.kind === "camera";
  $("about").textContent = "";
  $("views").classList.add("busy");
  boxes.setSize(source.width, source.height);
  view.show(source);
  over.setAttribute("aria-label", `${shown(source.name)}, with heat where people look`);
  say(backend ? "Predicting…" : "Loading the model…");
}

function startPlayer(found, number) {
  player = new Player(found.pixels, {
    live: found.kind === "camera",
    framesPerSecond: site.frames_per_second,
    look: async (restart) => {
      try {
        return await lookAt(await createImageBitmap(found.pixels), { model: "video", restart });
      } catch (error) {
        if (number === opened) {
          player?.pause();
          fail(error);
        }
        return 0;
      }
    },
    changed: showPlayer,
  });
  showPlayer();
}

// Predicting

/** Predicts and shows; gives the milliseconds that it took. */
async function lookAt(bitmap, how) {
  const number = opened;
  const found = await engine.predict(bitmap, how);
  if (number !== opened) return 0;
  backend = found.backend;
  map = { ...found, domain: site.models[how.model].domain };
  $("views").classList.remove("busy");
  view.setMap(map);
  boxes.setMap(map);
  showSaves();
  const [height, width] = map.inputSize;
  $("about").textContent =
    `${source.width} × ${source.height} pixels, seen at ${width} × ${height}; domain ${map.domain}.`;
  // Spoken to a screen reader, so not for each of a film's frames.
  if (how.model === "image" || how.restart) say("Done.");
  showPace();
  return map.milliseconds;
}

function showPace() {
  const pace = map ? `, ${Math.round(map.milliseconds)} ms${source.kind === "image" ? "" : " a frame"}` : "";
  $("pace").textContent = backend ? `${backend}${pace}.` : "";
}

function showPlayer() {
  if (!player) return;
  view.draw();
  $("play").textContent = player.playing ? "Pause" : "Play";
  $("seek").max = String(player.duration || 1);
  if (document.activeElement !== $("seek") || player.playing) $("seek").value = String(player.seconds);
  const shown = `${clock(player.seconds)} of ${clock(player.duration)}`;
  $("time").textContent = shown.replace(" of ", " / ");
  $("seek").setAttribute("aria-valuetext", shown);
}

function clock(seconds) {
  const whole = Math.floor(seconds + 0.05); // a film's last frame may lie a little before its end
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// Saying

function say(text) {
  $("status").textContent = text;
  showPace();
}

function fail(error) {
  const known = error instanceof SourceError;
  $("error").textContent = known
    ? error.message
    : `The model failed: ${String(error.message || error).split("\n")[0]}`;
  $("error").hidden = false;
  $("views").classList.remove("busy");
  say(known && backend ? "Ready." : "");
}

function hideError() {
  $("error").hidden = true;
  $("error").textContent = "";
}

function showSaves() {
  for (const id of ["save-overlay", "save-map"]) $(id).disabled = !map;
  for (const id of ["save-csv", "save-json"]) $(id).disabled = !map || boxes.empty;
}

// Controls

const chooseFile = () => $("file").click();
$("open").addEventListener("click", chooseFile);
$("start").addEventListener("click", chooseFile);
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) open(() => openFile(file));
  $("file").value = ""; // the same file may be chosen again
});
$("camera").addEventListener("click", () => open(openCamera));
$("sample").addEventListener("click", () => open(openSample));

document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) open(() => openFile(file));
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file) open(() => openFile(file));
});

for (const radio of document.querySelectorAll("input[name=view]")) {
  radio.addEventListener("change", () => {
    $("views").dataset.view = radio.value;
    $("opacity-field").hidden = radio.value === "density";
    boxes.setMain(radio.value === "density" ? 1 : 0);
  });
}
$("opacity").addEventListener("input", () => {
  view.opacity = Number($("opacity").value);
  const shown = `${Math.round(100 * view.opacity)} %`;
  $("opacity-shown").textContent = shown;
  $("opacity").setAttribute("aria-valuetext", shown);
  view.draw();
});
$("add-box").addEventListener("click", () => boxes.add());
$("play").addEventListener("click", () => (player?.playing ? player.pause() : player?.play()));
$("seek").addEventListener("input", () => player?.seek(Number($("seek").value)));
$("seek").addEventListener("keydown", (event) => {
  const seconds = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
  if (!seconds || !player) return;
  event.preventDefault();
  $("seek").value = String(player.seconds + seconds); // which keeps it within the film
  player.seek(Number($("seek").value));
});

async function savePng(what) {
  const name = `${source.name}_${what}.png`; // now: another input may be open when the PNG is ready
  try {
    save(await view.png(what), name);
  } catch {
    fail(new SourceError(`${name}: the browser has too little memory to save it.`));
  }
}
$("save-overlay").addEventListener("click", () => savePng("overlay"));
$("save-map").addEventListener("click", () => savePng("map"));
$("save-csv").addEventListener("click", () => save(csvOf(boxes.rows()), `${source.name}_boxes.csv`));
$("save-json").addEventListener("click", () => {
  const about = { domain: map.domain, height: source.height, width: source.width, weights: site.weights };
  if (source.kind === "film") about.seconds = player.seconds;
  save(jsonOf(boxes.rows(), about), `${source.name}_boxes.json`);
});

/**
 * For scripts on this page and its console:
 *   await unisal.ready                        "WebGPU" or "WebAssembly, N threads"
 *   await unisal.predict(image)               the density of an ImageData or ImageBitmap
 *   await unisal.frame(image, restart)        the same of a film's next frame, with recurrence
 * A density is {density: Float32Array [height * width], which sums to 1, width, height, milliseconds}.
 */
window.unisal = Object.freeze({
  ready: engine.started,
  predict: (image) => engine.predict(image, { model: "image", full: true }),
  frame: (image, restart = false) => engine.predict(image, { model: "video", full: true, restart }),
});
