// Frames of a film or the camera, one after the other through the recurrence.
//
// The recurrence was trained at so many frames a second, and gets so many here. A film plays at its own
// speed where the network is fast enough; where it is not, the film waits for it: each next frame is sought.

const SLOW = 0.8; // of the time between two frames; above it the film waits
const SEEKING_SECONDS = 5;

export class Player {
  #video;
  #live;
  #interval;
  #look;
  #changed;
  #wanted = false; // to play
  #running = false;
  #looking = null; // a promise, while the network is at work
  #closed = false;
  #last = NaN; // film time of the last frame that was looked at
  #took = 0; // seconds that the network takes for a frame, averaged
  #seekTo = null;

  /**
   * @param {HTMLVideoElement} video
   * @param {object} options
   *   live: it is the camera.
   *   framesPerSecond: that the recurrence gets.
   *   look: (restart) => Promise of the milliseconds taken; predicts the frame that the video shows.
   *   changed: () => void; called when time or state have changed, and for each frame shown.
   */
  constructor(video, { live, framesPerSecond, look, changed }) {
    this.#video = video;
    this.#live = live;
    this.#interval = 1 / framesPerSecond;
    this.#look = look;
    this.#changed = changed;
  }

  get playing() { return this.#wanted; }
  get seconds() { return this.#seekTo ?? this.#video.currentTime; }
  get duration() { return Number.isFinite(this.#video.duration) ? this.#video.duration : 0; }

  /** Looks at the frame that is shown, without playing. */
  async first() {
    await this.#lookNow(true);
  }

  play() {
    if (this.#closed || this.#wanted) return;
    this.#wanted = true;
    this.#changed();
    this.#run();
  }

  pause() {
    this.#wanted = false;
    if (!this.#live) this.#video.pause();
    this.#changed();
  }

  /** Goes to a time of the film. What came before is forgotten: it is another place. */
  seek(seconds) {
    this.#seekTo = seconds;
    this.#changed();
    this.#run();
  }

  close() {
    this.#closed = true;
    this.#wanted = false;
    this.#video.pause();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    try {
      if (this.#video.ended && this.#seekTo === null) this.#seekTo = 0;
      while ((this.#wanted || this.#seekTo !== null) && !this.#closed) {
        if (this.#seekTo !== null) await this.#goWhereWanted();
        else if (this.#video.ended) this.pause();
        else if (!this.#live && this.#took > SLOW * this.#interval) await this.#step();
        else await this.#follow();
      }
      // What is shown when the film rests has a map of its own, not of a frame before.
      await this.#looking;
      if (!this.#live && !this.#closed && this.#video.currentTime !== this.#last) await this.#lookNow(false);
      this.#changed();
    } finally {
      this.#running = false;
    }
    // Play or a jump may have come in the last moment.
    if ((this.#wanted || this.#seekTo !== null) && !this.#closed) this.#run();
  }

  async #goWhereWanted() {
    while (this.#seekTo !== null && !this.#closed) {
      const wanted = this.#seekTo;
      this.#video.pause();
      await this.#sought(wanted);
      await this.#lookNow(true);
      if (this.#seekTo === wanted) this.#seekTo = null;
      this.#changed();
    }
  }

  /** The film waits: the next frame that the recurrence is to see. */
  async #step() {
    this.#video.pause();
    const next = this.#video.currentTime + this.#interval;
    await this.#sought(Math.min(next, this.duration || next));
    await this.#lookNow(false);
    this.#changed();
    if (this.duration && next >= this.duration) this.pause();
  }

  /** The film plays, and the network looks now and then. */
  async #follow() {
    if (this.#video.paused) await this.#video.play().catch(() => this.pause());
    const at = await this.#nextFrame();
    this.#changed();
    const due = !(at >= this.#last && at < this.#last + this.#interval - 1e-3);
    if (!due || !this.#wanted) return;
    if (this.#looking && !this.#live) this.#video.pause(); // so that no frame is left out
    await this.#looking;
    if (this.#wanted) this.#lookNow(false);
  }

  #lookNow(restart) {
    this.#last = this.#video.currentTime;
    this.#looking = this.#look(restart).then((milliseconds = 0) => {
      const took = milliseconds / 1000;
      this.#took = this.#took ? 0.7 * this.#took + 0.3 * took : took;
      this.#looking = null;
    });
    return this.#looking;
  }

  #sought(seconds) {
    const video = this.#video;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, SEEKING_SECONDS * 1000);
      video.addEventListener("seeked", () => {
        clearTimeout(timer);
        resolve();
      }, { once: true });
      video.currentTime = seconds;
    });
  }

  /** Waits until another frame is shown, or the film ends; gives the film's time. */
  #nextFrame() {
    const video = this.#video;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        video.removeEventListener("ended", done);
        video.removeEventListener("pause", done);
        resolve(video.currentTime);
      };
      const timer = setTimeout(done, 500);
      video.addEventListener("ended", done);
      video.addEventListener("pause", done);
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(done);
      else requestAnimationFrame(done);
    });
  }
}
