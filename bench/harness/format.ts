/** Figures as people read them. */
import type { Summary } from './statistics.ts'

/** Three significant digits, or `count`; thousands as `k` and `M` from 10,000 on: `812`, `4,120`, `81.2 k`, `7.94 M`. */
export function figure(value: number, count = 3): string {
  if (value >= 999.5e6) return `${digits(value / 1e9, count)} G`
  if (value >= 999.5e3) return `${digits(value / 1e6, count)} M`
  if (value >= 9_999.5) return `${digits(value / 1e3, count)} k`
  return digits(value, count)
}

/** Three digits: ratios are compared with limits such as 0.85. */
export function quotient(value: number): string {
  if (value < 1) return value.toFixed(3)
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : digits(Math.round(value))
}

export function spread({ min, max }: Summary, format: (value: number) => string = value => figure(value)): string {
  return `${format(min)} to ${format(max)}`
}

/** Without exponents, without zeros at the end. */
function digits(value: number, count = 3): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(count)))
}
