// Boxes on the image, drawn by mouse, touch or keyboard, and the table of what each holds.

import { shareInBox } from "./pixels.js";

const LEAST = 0.01; // of a side
const STEP = 0.01, LARGE_STEP = 0.05;
const NEAR_RIGHT = 0.8, NEAR_BOTTOM = 0.94; // from here on a label would leave the image
const NEW = { width: 0.3, height: 0.3 };

export class Boxes {
  #layers;
  #main = 0; // of the layers, the one for the keyboard and screen readers
  #table;
  #boxes = []; // {name, x, y, width, height, sum}, in shares of the image's sides
  #size = { width: 1, height: 1 };
  #map = null;
  #count = 0;
  #changed;

  /**
   * @param {HTMLElement[]} layers That lie over the views.
   * @param {HTMLTableSectionElement} table
   * @param {() => void} changed Called when boxes have come or gone.
   */
  constructor(layers, table, changed) {
    this.#layers = layers;
    this.#table = table;
    this.#changed = changed;
    for (const layer of layers) {
      layer.addEventListener("pointerdown", (event) => this.#drag(event, layer));
      layer.addEventListener("click", (event) => this.#tap(event, layer));
    }
  }

  /** Another image, in pixels. Boxes stay on a film's next frames, and go with an image. */
  setSize(width, height) {
    this.#size = { width, height };
    this.#map = null;
    this.#boxes = [];
    this.#count = 0;
    this.#build();
  }

  /** The layer for the keyboard: one that is seen. @param {number} number */
  setMain(number) {
    this.#main = number;
    this.#build();
  }

  /** @param {{density: Float32Array, width: number, height: number}} map */
  setMap(map) {
    this.#map = map;
    this.#measure();
  }

  /** A box in the middle, or around a place. */
  add(centre = { x: 0.5, y: 0.5 }) {
    const x = clamp(centre.x - NEW.width / 2, 0, 1 - NEW.width);
    const y = clamp(centre.y - NEW.height / 2, 0, 1 - NEW.height);
    this.#boxes.push(this.#named({ ...NEW, x, y }));
    this.#build();
    this.#layers[this.#main].lastElementChild.focus({ preventScroll: true });
  }

  get empty() {
    return this.#boxes.length === 0;
  }

  /** The boxes in whole pixels of the image, with the columns that `unisal score-regions` reads. */
  rows() {
    return this.#boxes.map((box) => {
      const pixels = this.#pixels(box), attention = this.#share(box);
      const area = (pixels.width * pixels.height) / (this.#size.width * this.#size.height);
      return { name: box.name, ...pixels, attention, relative: attention / area };
    });
  }

  #named(box) {
    this.#count += 1;
    return { ...box, name: this.#free(`Box ${this.#count}`) };
  }

  /** A name that no other box has, so that `unisal score-regions` reads the saved file. */
  #free(name, box = null) {
    const taken = new Set(this.#boxes.filter((other) => other !== box).map((other) => other.name));
    let free = name;
    for (let number = 2; taken.has(free); number++) free = `${name} ${number}`;
    return free;
  }

  #pixels(box) {
    const { width, height } = this.#size;
    const left = Math.min(Math.round(box.x * width), width - 1);
    const top = Math.min(Math.round(box.y * height), height - 1);
    const right = Math.max(Math.round((box.x + box.width) * width), left + 1);
    const bottom = Math.max(Math.round((box.y + box.height) * height), top + 1);
    return { left, top, width: right - left, height: bottom - top };
  }

  /**
   * Of the box in whole pixels, so that the numbers are those that the saved file gives again. Kept until the
   * box or the map changes: the sum over a large box takes long.
   */
  #share(box) {
    if (!this.#map) return NaN;
    const { left, top, width, height } = this.#pixels(box);
    const key = [left, top, width, height].join();
    if (box.sum?.map !== this.#map || box.sum.key !== key) {
      const share = shareInBox(this.#map, {
        x: left / this.#size.width,
        y: top / this.#size.height,
        width: width / this.#size.width,
        height: height / this.#size.height,
      });
      box.sum = { map: this.#map, key, share };
    }
    return box.sum.share;
  }

  #build() {
    this.#layers.forEach((layer, number) =>
      layer.replaceChildren(...this.#boxes.map((box) => this.#element(box, number === this.#main))),
    );
    this.#table.replaceChildren(...this.#boxes.map((box) => this.#row(box)));
    this.#table.closest("table").hidden = this.#boxes.length === 0;
    this.#measure();
    this.#changed();
  }

  #element(box, first) {
    const element = document.createElement("div");
    element.className = "box";
    element.dataset.name = box.name;
    if (first) {
      element.tabIndex = 0;
      element.setAttribute("role", "application"); // screen readers hand it the arrow keys
      element.setAttribute("aria-roledescription", "box");
      element.setAttribute("aria-describedby", "box-keys");
    } else {
      element.setAttribute("aria-hidden", "true");
    }
    const handle = document.createElement("span");
    handle.className = "handle";
    element.append(handle);
    element.addEventListener("keydown", (event) => this.#key(event, box));
    return element;
  }

  #row(box) {
    const row = document.createElement("tr");
    const name = document.createElement("input");
    name.value = box.name;
    name.maxLength = 40;
    name.setAttribute("aria-label", "Name of the box");
    name.addEventListener("input", () => {
      box.name = name.value;
      this.#measure();
    });
    name.addEventListener("change", () => {
      name.value = box.name = this.#free(box.name.trim() || "Box", box);
      this.#measure();
    });
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "plain";
    remove.textContent = "×";
    remove.addEventListener("click", () => this.#remove(box));
    const cells = [name, "", "", remove].map((content) => {
      const cell = document.createElement("td");
      cell.append(content);
      return cell;
    });
    row.append(...cells);
    return row;
  }

  /** Brings places and numbers up to date. */
  #measure() {
    this.rows().forEach(({ name, attention, relative }, index) => {
      const box = this.#boxes[index], row = this.#table.children[index];
      const known = Number.isFinite(attention);
      const share = known ? `${(100 * attention).toFixed(1)} %` : "…";
      row.children[1].textContent = share;
      row.children[2].textContent = known ? `${relative.toFixed(1)} ×` : "…";
      row.querySelector("button").setAttribute("aria-label", `Remove ${name}`);
      for (const layer of this.#layers) {
        const element = layer.children[index];
        element.dataset.name = name;
        element.dataset.share = known ? share : "";
        element.classList.toggle("at-right", box.x > NEAR_RIGHT);
        element.classList.toggle("at-bottom", box.y > NEAR_BOTTOM);
        for (const [side, value] of [["left", box.x], ["top", box.y], ["width", box.width], ["height", box.height]]) {
          element.style[side] = `${100 * value}%`;
        }
      }
      this.#layers[this.#main].children[index].setAttribute("aria-label", `${name}, ${share} of attention`);
    });
  }

  #remove(box) {
    const index = this.#boxes.indexOf(box);
    this.#boxes.splice(index, 1);
    this.#build();
    const next = this.#table.children[Math.min(index, this.#boxes.length - 1)];
    (next?.querySelector("button") ?? document.getElementById("add-box")).focus();
  }

  #tap(event, layer) {
    if (event.pointerType === "touch" && !event.target.closest(".box")) this.add(placeOf(event, layer));
  }

  #drag(event, layer) {
    if (event.button !== 0) return;
    const start = placeOf(event, layer);
    const index = [...layer.children].indexOf(event.target.closest(".box"));
    let box = this.#boxes[index] ?? null;
    const before = box ? { ...box } : null;
    if (!box && event.pointerType === "touch") return; // it scrolls, or taps
    const resizes = event.target.classList.contains("handle");
    const move = (moved) => {
      const at = placeOf(moved, layer);
      if (!box) {
        if (Math.abs(at.x - start.x) < LEAST || Math.abs(at.y - start.y) < LEAST) return;
        box = this.#named({ ...start, width: 0, height: 0 });
        this.#boxes.push(box);
        this.#build();
      }
      if (before && !resizes) {
        box.x = clamp(before.x + at.x - start.x, 0, 1 - box.width);
        box.y = clamp(before.y + at.y - start.y, 0, 1 - box.height);
      } else if (before) {
        box.width = clamp(before.width + at.x - start.x, LEAST, 1 - box.x);
        box.height = clamp(before.height + at.y - start.y, LEAST, 1 - box.y);
      } else {
        const x = Math.min(start.x, at.x), y = Math.min(start.y, at.y);
        Object.assign(box, { x, y });
        box.width = Math.max(Math.abs(at.x - start.x), LEAST);
        box.height = Math.max(Math.abs(at.y - start.y), LEAST);
      }
      this.#measure();
    };
    const end = () => {
      layer.removeEventListener("pointermove", move);
      layer.removeEventListener("pointerup", end);
      layer.removeEventListener("pointercancel", end);
    };
    layer.setPointerCapture(event.pointerId);
    layer.addEventListener("pointermove", move);
    layer.addEventListener("pointerup", end);
    layer.addEventListener("pointercancel", end);
    if (box) this.#layers[this.#main].children[index].focus({ preventScroll: true });
    event.preventDefault();
  }

  #key(event, box) {
    const step = event.ctrlKey || event.altKey ? LARGE_STEP : STEP;
    const [x, y] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[
      event.key
    ] ?? [0, 0];
    if (event.key === "Delete" || event.key === "Backspace") {
      this.#remove(box);
    } else if (x === 0 && y === 0) {
      return;
    } else if (event.shiftKey) {
      box.width = clamp(box.width + x, LEAST, 1 - box.x);
      box.height = clamp(box.height + y, LEAST, 1 - box.y);
    } else {
      box.x = clamp(box.x + x, 0, 1 - box.width);
      box.y = clamp(box.y + y, 0, 1 - box.height);
    }
    event.preventDefault();
    this.#measure();
  }
}

/** Where a pointer is on a layer, in shares of its sides. */
function placeOf({ clientX, clientY }, layer) {
  const area = layer.getBoundingClientRect();
  return {
    x: clamp((clientX - area.left) / area.width, 0, 1),
    y: clamp((clientY - area.top) / area.height, 0, 1),
  };
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
