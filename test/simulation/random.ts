/** Numbers that look random and follow from a seed alone (mulberry32). Neighbouring seeds have nothing in common. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0
    this.#next()
  }

  /** A whole number in [0, bound). */
  below(bound: number): number {
    return Math.floor((this.#next() / 2 ** 32) * bound)
  }

  /** A whole number in [least, most]. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  chance(percent: number): boolean {
    return this.below(100) < percent
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T
  }

  /** A fraction in [0, 1), in steps that print briefly. */
  fraction(): number {
    return this.below(1000) / 1000
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

/** A seed of its own for the n-th thing below another seed. */
export function seedBelow(seed: number, n: number): number {
  return Math.imul(seed ^ Math.imul(n + 1, 0xc2b2ae35), 0x27d4eb2f) >>> 0
}
