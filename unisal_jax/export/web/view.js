// What is seen: the image with heat over it, and the density alone.

const MAX_SIDE = 1600; // of the canvases on the page, in pixels; files to save have the image's own size

/** Densities as colours, with the table of the Python package. */
export class Heat {
  #colours;
  #weights;

  /** @param {{colours: number[][], weights: number[]}} table Of the 256 levels: RGB, and opacity 0 to 1. */
  constructor({ colours, weights }) {
    this.#colours = colours;
    this.#weights = weights;
  }

  /**
   * A density as a canvas of its size.
   *
   * @param {{density: Float32Array, width: number, height: number}} map
   * @param {"heat" | "grey"} form Heat is transparent where nobody looks; grey is black there.
   */
  canvas(map, form) {
    const canvas = new OffscreenCanvas(map.width, map.height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(map.width, map.height);
    const pixels = new Uint32Array(image.data.buffer);
    const table = form === "heat" ? this.#heatTable() : greyTable();
    const scale = 255 / peakOf(map.density);
    for (let i = 0; i < pixels.length; i++) {
      const level = map.density[i] * scale;
      // Grey is rounded down, as Python's maps are; heat to the nearest level.
      pixels[i] = table[form === "heat" ? Math.round(level) : Math.min(level, 255) | 0];
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  #heatTable() {
    return Uint32Array.from(this.#colours, ([red, green, blue], level) =>
      packed(red, green, blue, Math.round(255 * this.#weights[level])),
    );
  }
}

function greyTable() {
  return Uint32Array.from({ length: 256 }, (_, level) => packed(level, level, level, 255));
}

/** A pixel as canvases store it on all machines that browsers run on: little-endian RGBA. */
function packed(red, green, blue, alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function peakOf(density) {
  let peak = 0;
  for (const value of density) if (value > peak) peak = value;
  return peak || 1;
}

export class View {
  #heat;
  #over;
  #alone;
  #source = null;
  #layers = null; // the density as canvases: heat, grey
  opacity = 0.7;

  /**
   * @param {Heat} heat
   * @param {HTMLCanvasElement} over For the image with its heat.
   * @param {HTMLCanvasElement} alone For the density.
   */
  constructor(heat, over, alone) {
    this.#heat = heat;
    this.#over = over;
    this.#alone = alone;
  }

  /**
   * Shows another image, without a density yet.
   *
   * @param {{pixels: CanvasImageSource, width: number, height: number}} source
   */
  show(source) {
    this.#source = source;
    this.#layers = null;
    const scale = Math.min(1, MAX_SIDE / Math.max(source.width, source.height));
    for (const canvas of [this.#over, this.#alone]) {
      canvas.width = Math.max(1, Math.round(source.width * scale));
      canvas.height = Math.max(1, Math.round(source.height * scale));
      canvas.parentElement.style.setProperty("--aspect", source.width / source.height);
      canvas.parentElement.style.setProperty("--width", `${source.width}px`);
    }
    this.draw();
  }

  /** @param {{density: Float32Array, width: number, height: number}} map Of what is shown. */
  setMap(map) {
    this.#layers = { heat: this.#heat.canvas(map, "heat"), grey: this.#heat.canvas(map, "grey") };
    this.draw();
  }

  /** Draws what is shown as it is now: a film's frame changes by itself. */
  draw() {
    if (!this.#source) return;
    this.#drawOver(this.#over);
    this.#drawAlone(this.#alone);
  }

  #drawOver(canvas) {
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.globalAlpha = 1;
    context.drawImage(this.#source.pixels, 0, 0, canvas.width, canvas.height);
    if (!this.#layers) return;
    context.globalAlpha = this.opacity;
    context.drawImage(this.#layers.heat, 0, 0, canvas.width, canvas.height);
  }

  #drawAlone(canvas) {
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    if (this.#layers) context.drawImage(this.#layers.grey, 0, 0, canvas.width, canvas.height);
    else context.fillRect(0, 0, canvas.width, canvas.height);
  }

  /** @param {"overlay" | "map"} what @returns {Promise<Blob>} A PNG of the image's own size. */
  async png(what) {
    const { width, height } = this.#source;
    const canvas = new OffscreenCanvas(width, height);
    if (what === "overlay") this.#drawOver(canvas);
    else this.#drawAlone(canvas);
    return canvas.convertToBlob({ type: "image/png" });
  }
}
