/** Latencies of single operations: collected without allocating, told as percentiles. */

export class Latencies {
  #samples = new Float64Array(4096)
  #count = 0

  get count(): number {
    return this.#count
  }

  /** @param milliseconds - as `performance.now()` counts them. */
  add(milliseconds: number): void {
    if (this.#count === this.#samples.length) {
      const larger = new Float64Array(this.#count * 2)
      larger.set(this.#samples)
      this.#samples = larger
    }
    this.#samples[this.#count++] = milliseconds
  }

  /** Microseconds; nearest rank. @throws {Error} without a sample. */
  percentile(percent: number): number {
    if (this.#count === 0) throw new Error('no latency was measured')
    const sorted = this.#samples.subarray(0, this.#count).sort()
    return sorted[Math.max(0, Math.ceil((percent / 100) * this.#count) - 1)]! * 1000
  }

  /** The usual three, ready for `Measurement.extras`. */
  extras(): Record<string, number> {
    return { 'p50 us': this.percentile(50), 'p99 us': this.percentile(99), 'p99.9 us': this.percentile(99.9) }
  }
}
