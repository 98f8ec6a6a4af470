// What goes in: an image file, a film file, or the camera. Each is opened whole or refused in one line.

const MAX_PIXELS = 50_000_000; // a density of so many takes 200 MB
// Upright, and with the numbers of the file: colour profiles are not applied, as in the Python package.
const AS_STORED = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
const OPENING_SECONDS = 15;

/** Something that cannot be opened; the message is one line for people. */
export class SourceError extends Error {}

/**
 * @typedef {object} Source
 * @property {"image" | "film" | "camera"} kind
 * @property {string} name Of the file, without its ending.
 * @property {CanvasImageSource} pixels What a canvas draws: a bitmap, or a video element.
 * @property {number} width @property {number} height In pixels, upright.
 * @property {() => void} close Gives back what it holds.
 * @property {Promise} [ended] Settles when the camera is unplugged or taken away; not on `close`.
 */

/** Opens a file, as an image or as a film. @param {File} file @returns {Promise<Source>} */
export async function openFile(file) {
  if (file.size === 0) throw new SourceError(`${shown(file.name)}: the file is empty.`);
  if (file.type.startsWith("video/")) return openFilm(file);
  if (file.type.startsWith("image/")) return openImage(file, file.name);
  // A name without a known ending has no type; then the contents decide.
  const opening = file.type === "" ? openImage(file, file.name).catch(() => openFilm(file)) : Promise.reject();
  return opening.catch(() => {
    throw new SourceError(`${shown(file.name)}: neither an image nor a film.`);
  });
}

/** Opens the image that lies beside the page. @returns {Promise<Source>} */
export async function openSample() {
  const answer = await fetch("sample.jpg").catch(() => null);
  if (!answer?.ok) throw new SourceError("The file sample.jpg of this page cannot be loaded.");
  return openImage(await answer.blob(), "sample.jpg");
}

/** Opens an image. @param {Blob} blob @param {string} name @returns {Promise<Source>} */
export async function openImage(blob, name) {
  let pixels;
  try {
    // Older browsers refuse what they do not know; without it they turn images upright, too.
    pixels = await createImageBitmap(blob, AS_STORED).catch(() => createImageBitmap(blob));
  } catch {
    throw new SourceError(`${shown(name)}: this browser cannot read the image; it is damaged or of an unknown format.`);
  }
  const { width, height } = pixels;
  if (width * height > MAX_PIXELS) {
    pixels.close();
    throw new SourceError(`${shown(name)}: ${width} × ${height} is larger than ${MAX_PIXELS / 1e6} megapixels.`);
  }
  return { kind: "image", name: stem(name), pixels, width, height, close: () => pixels.close() };
}

async function openFilm(file) {
  const video = newVideo();
  const url = URL.createObjectURL(file);
  const close = () => {
    video.pause();
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(url);
  };
  try {
    video.src = url;
    await loaded(video);
    if (!Number.isFinite(video.duration)) await findDuration(video);
    return { ...sized(video, file.name), kind: "film", close };
  } catch {
    close();
    throw new SourceError(`${shown(file.name)}: this browser cannot play the film; try MP4 (H.264) or WebM.`);
  }
}

/** Opens the camera, once the user allows it. @returns {Promise<Source>} */
export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new SourceError("The camera needs a page from https or from this machine.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
  } catch (error) {
    const denied = error.name === "NotAllowedError" || error.name === "SecurityError";
    throw new SourceError(denied ? "The camera is not allowed for this page." : "No camera was found.");
  }
  const tracks = stream.getTracks();
  const close = () => tracks.forEach((track) => track.stop());
  const ended = new Promise((resolve) => tracks[0].addEventListener("ended", resolve, { once: true }));
  const video = newVideo();
  try {
    video.srcObject = stream;
    await loaded(video);
    await video.play();
    return { ...sized(video, "camera"), kind: "camera", close, ended };
  } catch {
    close();
    throw new SourceError("The camera gives no frames.");
  }
}

function newVideo() {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.preload = "auto";
  return video;
}

function loaded(video) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, OPENING_SECONDS * 1000);
    video.addEventListener("loadeddata", () => {
      clearTimeout(timer);
      if (video.videoWidth > 0) resolve();
      else reject(); // sound alone
    }, { once: true });
    video.addEventListener("error", () => {
      clearTimeout(timer);
      reject();
    }, { once: true });
  });
}

/** Of a film that a browser recorded, which has no duration in its header: it is known once its end is. */
async function findDuration(video) {
  for (const seconds of [Number.MAX_SAFE_INTEGER, 0]) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, OPENING_SECONDS * 1000);
      video.addEventListener("seeked", () => {
        clearTimeout(timer);
        resolve();
      }, { once: true });
      video.currentTime = seconds;
    });
  }
}

function sized(video, name) {
  return { name: stem(name), pixels: video, width: video.videoWidth, height: video.videoHeight };
}

/** A file's name for a line of text: a long one without its middle, and whatever direction it is written in. */
export function shown(name) {
  const letters = Array.from(name);
  const short = letters.length > 60 ? `${letters.slice(0, 40).join("")}…${letters.slice(-15).join("")}` : name;
  return `\u2068${short}\u2069`;
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "") || name;
}
