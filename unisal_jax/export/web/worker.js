// The model, in a thread of its own, so that the page stays responsive. Takes images and frames, answers
// with densities. ONNX Runtime runs on WebGPU where there is one and its numbers are right, else in
// WebAssembly.

import { inputSize, resizeDensity, resizeLanczos } from "./pixels.js";

const RUNTIME = new URL("./runtime/", import.meta.url).href;
const MAX_THREADS = 8;
const CHECK_TOLERANCE = 0.02; // in log-density; a wrong kernel is off by far more
const ERRORS = 3; // of the runtime's messages, these alone
const WEBGPU = "WebGPU";
const CHANNELS = 256, UNIT = 32; // of the recurrence's state, and its scale

let site, ort, options, backend;
const sessions = new Map(); // by the model's file
let state = null; // of the recurrence: {tensor, key}
let work = Promise.resolve();

self.onmessage = ({ data }) => {
  // One after the other: a frame needs the state after the one before.
  work = work.then(async () => {
    try {
      const { answer, transfer } = await (data.task === "start" ? start(data.site) : predict(data));
      self.postMessage({ id: data.id, answer }, transfer);
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
};

async function start(theSite) {
  site = theSite;
  backend = (await startWebgpu()) ?? (await startWasm());
  return { answer: { backend }, transfer: [] };
}

async function startWebgpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter || adapter.isFallbackAdapter || adapter.info?.isFallbackAdapter) return null;
    ort = await import("./runtime/ort.webgpu.min.mjs");
    configure();
    options = { executionProviders: ["webgpu"] };
    if (await isRight()) return WEBGPU;
  } catch {
    // No reason to bother anyone with: WebAssembly does the same.
  }
  return null;
}

async function startWasm() {
  sessions.clear();
  ort = await import("./runtime/ort.wasm.min.mjs");
  const threads = configure();
  options = { executionProviders: ["wasm"] };
  await sessionOf(site.models.image);
  return `WebAssembly, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}

function configure() {
  // Threads share memory, which browsers allow a page that is isolated from all others (COOP and COEP).
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS) : 1;
  ort.env.wasm.wasmPaths = RUNTIME;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return threads;
}

/** Whether the model's map of a known image is the one that Python's had. */
async function isRight() {
  const { height, width, rows, columns, log_density: wanted } = site.check;
  const frames = new Uint8Array(height * width * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) frames[at++] = (3 * x + 5 * y + 85 * c) % 256;
    }
  }
  const density = await run(site.models.image, frames, [height, width], true);
  return rows.every((y, i) =>
    columns.every((x, j) => Math.abs(Math.log(density[y * width + x]) - wanted[i][j]) < CHECK_TOLERANCE),
  );
}

function sessionOf(model) {
  if (!sessions.has(model.file)) {
    const opening = bytesOf(model.file).then((bytes) =>
      ort.InferenceSession.create(bytes, { ...options, logSeverityLevel: ERRORS }),
    );
    opening.catch(() => sessions.delete(model.file));
    sessions.set(model.file, opening);
  }
  return sessions.get(model.file);
}

async function bytesOf(file) {
  const answer = await fetch(new URL(file, import.meta.url)).catch(() => null);
  if (!answer?.ok) throw new Error(`its file ${file} cannot be loaded.`);
  return new Uint8Array(await answer.arrayBuffer());
}

/**
 * The density of an image or frame.
 *
 * @param {object} request
 *   source: an ImageBitmap, which is closed, or {data, width, height} as ImageData has.
 *   model: "image" or "video".
 *   restart: forget the frames before.
 *   full: the density at the size of the source, not of the input.
 */
async function predict({ source, model: name, restart, full }) {
  const model = site.models[name];
  await sessionOf(model);
  const began = performance.now();
  const { data, width, height } = pixelsOf(source);
  const size = inputSize(height, width, site.sizes, model.trained);
  const small = resizeLanczos(data, width, height, size[1], size[0]);
  const found = await runSomewhere(model, small, size, restart);
  const density = full ? resizeDensity(found, size[1], size[0], width, height) : found;
  const milliseconds = performance.now() - began;
  const answer = {
    backend,
    density,
    height: full ? height : size[0],
    width: full ? width : size[1],
    inputSize: size,
    milliseconds,
  };
  return { answer, transfer: [density.buffer] };
}

/** As `run`; where WebGPU fails on the way, as when the driver starts anew, WebAssembly takes over. */
async function runSomewhere(model, frames, size, restart) {
  try {
    return await run(model, frames, size, restart);
  } catch (error) {
    if (backend !== WEBGPU) throw error;
    backend = await startWasm();
    return run(model, frames, size, true);
  }
}

async function run(model, frames, [height, width], restart) {
  const session = await sessionOf(model);
  const feeds = { frames: new ort.Tensor("uint8", frames, [1, height, width, 3]) };
  if (model.recurrent) {
    const key = `${model.file} ${height} ${width}`;
    if (restart || state?.key !== key) {
      const axes = [1, CHANNELS, height / UNIT, width / UNIT];
      const zeros = new Float32Array(axes.reduce((product, side) => product * side));
      state = { key, tensor: new ort.Tensor("float32", zeros, axes) };
    }
    feeds.state = state.tensor;
  }
  const outputs = await session.run(feeds);
  if (model.recurrent) state.tensor = outputs.next_state;
  // A copy: it is handed to the page, and the runtime's memory is its own.
  return Float32Array.from(outputs.density.data);
}

let canvas = null;

function pixelsOf(source) {
  if (!(source instanceof ImageBitmap)) return source;
  const { width, height } = source;
  if (canvas?.width !== width || canvas?.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: true, willReadFrequently: true });
  context.clearRect(0, 0, width, height);
  context.drawImage(source, 0, 0);
  source.close();
  return context.getImageData(0, 0, width, height);
}
