// The page's side of the model's thread: asks, and waits for answers.

export class Engine {
  #worker;
  #waiting = new Map();
  #last = 0;

  /** @param {object} site What `site.json` holds. */
  constructor(site) {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#settle(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#failAll(event.message || "its script could not be loaded");
    };
    /** Settles with the name of what computes: "WebGPU", or "WebAssembly, N threads". */
    this.started = this.#ask({ task: "start", site }).then(({ backend }) => backend);
  }

  /**
   * The density of an image or frame, see `predict` in worker.js.
   *
   * @param {ImageBitmap | ImageData} source A bitmap is handed over, and gone afterwards.
   * @param {{model: string, restart?: boolean, full?: boolean}} how
   */
  async predict(source, how) {
    await this.started;
    const bitmap = source instanceof ImageBitmap;
    const sent = bitmap ? source : { data: source.data, width: source.width, height: source.height };
    return this.#ask({ task: "predict", source: sent, ...how }, bitmap ? [source] : []);
  }

  #ask(message, transfer = []) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...message, id }, transfer);
    });
  }

  #settle({ id, answer, error }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) resolve(answer);
    else reject(new Error(error));
  }

  #failAll(reason) {
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
  }
}
