/** What `npm run bench:check` decides, and how it says so. Pure. */

/** `ratio`: has to be at least its limit; `count`: at most. */
export type CheckKind = 'ratio' | 'count'

export type Limits = Readonly<Record<string, number>>

export function meets(kind: CheckKind, figure: number, limit: number): boolean {
  return kind === 'ratio' ? figure >= limit : figure <= limit
}

/** `ok    scan, lazy: 0.81 of the bare loop's rate, at least 0.7`. */
export function checkLine(name: string, kind: CheckKind, figure: number, limit: number | undefined): string {
  const what = kind === 'ratio' ? `${short(figure)} of the bare loop's rate` : short(figure)
  if (limit === undefined) return `      ${name}: ${what}`
  const mark = meets(kind, figure, limit) ? 'ok   ' : 'SHORT'
  return `${mark} ${name}: ${what}, at ${kind === 'ratio' ? 'least' : 'most'} ${limit}`
}

/** Names that have no limit, and limits for what is not measured: either would be a check that cannot fail. */
export function unmatched(names: readonly string[], limits: Limits): string[] {
  const lacking = names.filter(name => limits[name] === undefined).map(name => `no limit for '${name}'`)
  const idle = Object.keys(limits).filter(name => !names.includes(name))
  return [...lacking, ...idle.map(name => `a limit for '${name}', which is not measured`)]
}

/** The table of limits as it stands in bench/check.ts: each figure times `slack`, to two digits, on the safe side. */
export function limitsText(constant: string, kind: CheckKind, figures: ReadonlyMap<string, number>): string {
  const lines = [...figures].map(([name, figure]) => `  '${name}': ${limitFor(kind, figure)}`)
  return `const ${constant}: Limits = {\n${lines.join(',\n')}\n}`
}

/** 20 % below a ratio, 20 % above a count; a count near zero gets room for one. */
export function limitFor(kind: CheckKind, figure: number): number {
  return kind === 'ratio' ? roundTo2(figure * 0.8, Math.floor) : roundTo2(Math.max(figure * 1.2, 1), Math.ceil)
}

function roundTo2(figure: number, round: (value: number) => number): number {
  if (figure <= 0) return 0
  const unit = 10 ** (Math.floor(Math.log10(figure)) - 1)
  // The quotient first to as many digits as a double keeps, or 0.3 / 0.1 would round down to 2.
  return Number((round(Number((figure / unit).toPrecision(12))) * unit).toPrecision(2))
}

function short(figure: number): string {
  return figure >= 100 ? figure.toFixed(0) : figure.toPrecision(3)
}
