/**
 * What a benchmark is made of.
 *
 * A *question* is one file of bench/ ("how fast are appends?"). It has *rows* (the shapes of data and load), and for
 * each row a list of *contestants*: heartwood, the ceiling, and the rivals. A measurement is one contestant on one
 * row in a process of its own, in an empty folder of its own; the runner interleaves them round by round, so that
 * what the machine does to one it does to all.
 */

/** What records look like. Sizes in bytes; the figures of a row count `keyBytes + valueBytes` as the payload. */
export interface Shape {
  readonly keyBytes: number
  readonly valueBytes: number
  readonly headers?: number
}

export interface Row {
  /** Unique within the question, short, as a command line would spell it: `100B-x1000`. */
  readonly id: string
  /** One line for people: `100 B records, 1,000 an append`. */
  readonly title: string
  /** Unit of the main figure: `records/s`, `us`, `MB/s`, `bytes`, `ms`. */
  readonly unit: string
  readonly better: 'more' | 'less'
  /** Names of engines in bench/engines, in the order of the table. */
  readonly contestants: readonly string[]
  readonly goals?: readonly Goal[]
  /**
   * About how many bytes a full measurement writes or reads (default 64 MiB): before each one the harness writes and
   * removes a file of that size (times the scale's factor), see warm.ts. 0: no warming.
   */
  readonly warmBytes?: number
  /** Whatever the question's `measure` needs to know about the row. */
  readonly params: Readonly<Record<string, number | string | boolean>>
}

/** A ratio that heartwood aims at, taken round by round within one run. */
export interface Goal {
  /** As performance.md counts them: `P1`. */
  readonly name: string
  /** A contestant, or `best rival` (none of heartwood and the ceilings); absent: `limit` bounds the figure itself. */
  readonly against?: string
  /** heartwood's figure divided by the other's: at least this for `more`, at most this for `less`. */
  readonly limit: number
  /** The contestant that the goal is about: `heartwood` unless said otherwise. */
  readonly of?: string
  /** A further figure of `extras` that the goal is about, in place of the main one. */
  readonly figure?: string
  /** For a figure of `extras`, whether more of it is better; the row's own direction otherwise. */
  readonly better?: 'more' | 'less'
}

/** How much to do. `quick` is for smoke tests (a second a measurement), `full` for RESULTS.md. */
export interface Scale {
  readonly name: 'quick' | 'full'
  /** Multiplies counts of records and seconds: 1 for full. */
  readonly factor: number
}

export interface Context {
  readonly row: Row
  readonly contestant: string
  readonly scale: Scale
  readonly round: number
  /** Empty, on the disk under test; removed by the runner afterwards. */
  readonly directory: string
  /**
   * A folder that stays from round to round (one for each row and contestant), for questions whose preparation takes
   * long, such as the log that a scan reads. `prepare` has filled it.
   */
  readonly kept: string
}

export interface Measurement {
  /** The main figure, in the row's unit. */
  readonly value: number
  /** Further figures, each with its unit in the name: `p50 us`, `p99 us`, `bytes/record`, `cpu us/record`. */
  readonly extras?: Readonly<Record<string, number>>
  /** How the engine was configured, one line, for the table's foot. */
  readonly settings?: string
  /** What a reader of the table has to know: `warm: the file fits in memory`. */
  readonly note?: string
}

/**
 * `x` and `y` each name a numeric parameter of the rows, a further figure of `extras`, or `value`, the main figure,
 * which `y` is unless said otherwise.
 */
export interface Curve {
  readonly x: string
  readonly xTitle: string
  readonly y?: string
  /** The row's unit unless said otherwise. */
  readonly yTitle?: string
  /** A parameter of the rows: one chart for each of its values. Rows of different units are always in different ones. */
  readonly panel?: string
}

export interface Question {
  /** As the file is called. */
  readonly name: string
  /** A sentence that ends in a question mark. */
  readonly asks: string
  /** A few sentences for RESULTS.md: what is written and read, what limits it, what order of magnitude to expect. */
  readonly about: string
  /** For questions whose rows are points of a curve: the chart has a line for each contestant in place of bars. */
  readonly curve?: Curve
  rows(scale: Scale): readonly Row[]
  /** Fills `context.kept`, once for each row and contestant, in a process of its own that is not measured. */
  prepare?(context: Context): Promise<void>
  measure(context: Context): Promise<Measurement>
}
