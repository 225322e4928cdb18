/** A section as a picture: bars for each row, or lines where the rows are points of a curve. */
import { colourOf, FAINT, FONT, INK, renderSvg } from './echarts.ts'
import { figure, spread } from './format.ts'
import type { ContestantOutcome, RowOutcome, Section } from './outcome.ts'
import type { Curve } from './question.ts'
import { figuresOf, summarize } from './statistics.ts'

const WIDTH = 860
const LEFT = 150
/** For the figures behind the bars. */
const RIGHT = 190
const BAR_HEIGHT = 24
const PANEL_HEAD = 34

/** @throws {RivalMissing} where echarts is not installed. */
export function renderChart(section: Section): string {
  const title = `${section.question}: ${section.asks}`
  return section.curve === undefined ? barChart(section.rows, title) : lineChart(section, section.curve, title)
}

function barChart(rows: readonly RowOutcome[], title: string): string {
  const panels: { row: RowOutcome; top: number; height: number }[] = []
  let top = 0
  for (const row of rows) {
    const height = row.contestants.length * BAR_HEIGHT
    panels.push({ row, top: top + PANEL_HEAD, height })
    top += PANEL_HEAD + height + 10
  }
  const option = {
    title: panels.map(({ row, top }) => panelTitle(`${row.title}: ${row.unit}, ${row.better} is better`, top)),
    grid: panels.map(({ top, height }) => ({ left: LEFT, right: RIGHT, top, height })),
    xAxis: panels.map((_, gridIndex) => ({ gridIndex, type: 'value', min: 0, show: false })),
    yAxis: panels.map(({ row }, gridIndex) => ({
      gridIndex,
      type: 'category',
      inverse: true,
      data: row.contestants.map(({ name }) => name),
      axisLine: { lineStyle: { color: FAINT } },
      axisTick: { show: false },
      axisLabel: { color: INK, fontSize: 12 }
    })),
    series: panels.flatMap(({ row }, index) => [bars(row, index), whiskers(row, index)])
  }
  return renderSvg(option, { width: WIDTH, height: Math.max(top, 60) }, title)
}

function panelTitle(text: string, top: number): object {
  return { text, left: 8, top: top - PANEL_HEAD + 8, textStyle: { color: INK, fontSize: 13, fontWeight: 600 } }
}

function bars(row: RowOutcome, index: number): object {
  return {
    type: 'bar',
    xAxisIndex: index,
    yAxisIndex: index,
    silent: true,
    barWidth: 14,
    data: row.contestants.map(contestant => ({
      value: summarize(figuresOf(contestant))?.median ?? 0,
      itemStyle: { color: colourOf(contestant.name) }
    }))
  }
}

interface RenderApi {
  value(dimension: number): number
  coord(point: [number, number]): [number, number]
}

/** A thin line from the slowest round to the fastest, and behind it the figures. */
function whiskers(row: RowOutcome, index: number): object {
  const texts = row.contestants.map(contestant => {
    const measured = summarize(figuresOf(contestant))
    return measured === undefined ? absence(contestant) : `${figure(measured.median)} (${spread(measured)})`
  })
  return {
    type: 'custom',
    xAxisIndex: index,
    yAxisIndex: index,
    silent: true,
    z: 3,
    data: row.contestants.map((contestant, line) => {
      const { min, max } = summarize(figuresOf(contestant)) ?? { min: 0, max: 0 }
      return [min, max, line]
    }),
    encode: { x: [0, 1], y: 2 },
    renderItem: (_: unknown, api: RenderApi) => {
      const line = api.value(2)
      const [left, y] = api.coord([api.value(0), line])
      const [right] = api.coord([api.value(1), line])
      const stroke = { stroke: INK, lineWidth: 2 }
      const text = { x: right + 8, y, text: texts[line], fill: INK, font: `11px ${FONT}`, verticalAlign: 'middle' }
      return {
        type: 'group',
        children: [
          ...(left === right ? [] : [{ type: 'line', shape: { x1: left, y1: y, x2: right, y2: y }, style: stroke }]),
          { type: 'text', style: text }
        ]
      }
    }
  }
}

function absence({ state }: ContestantOutcome): string {
  return state === 'missing' ? 'not installed' : 'failed'
}

interface Point {
  readonly x: number
  readonly y: number
}

const LINE_PANEL_HEIGHT = 300
const LINE_PANEL_STEP = LINE_PANEL_HEIGHT + 100
const LEGEND_HEIGHT = 56

/** A panel for each unit and each value of `curve.panel`, a line for each contestant. */
function lineChart({ rows }: Section, curve: Curve, title: string): string {
  const panels = panelsOf(rows, curve)
  const lines = panels.map(panel => linesOf(panel.rows, curve))
  const names = [...new Set(lines.flatMap(panel => [...panel.keys()]))]
  const tops = panels.map((_, index) => LEGEND_HEIGHT + PANEL_HEAD + index * LINE_PANEL_STEP)
  const values = lines.map(panel => [...panel.values()].flat())
  const yTitle = (index: number): string => curve.yTitle ?? panels[index]?.rows[0]?.unit ?? ''
  const option = {
    legend: { top: 6, data: names, textStyle: { color: INK, fontSize: 12 }, itemGap: 16 },
    title: panels.map(({ name }, index) => panelTitle(name, tops[index]! - 16)),
    grid: tops.map(top => ({ left: 90, right: 40, top, height: LINE_PANEL_HEIGHT })),
    xAxis: values.map((points, gridIndex) => ({
      gridIndex,
      ...axis(
        points.map(({ x }) => x),
        curve.xTitle,
        'x'
      )
    })),
    yAxis: values.map((points, gridIndex) => ({
      gridIndex,
      ...axis(
        points.map(({ y }) => y),
        yTitle(gridIndex),
        'y'
      )
    })),
    series: lines.flatMap((panel, index) => [...panel].map(([name, points]) => line(name, points, index, names)))
  }
  const height = LEGEND_HEIGHT + panels.length * LINE_PANEL_STEP
  return renderSvg(option, { width: WIDTH, height }, title)
}

interface Panel {
  readonly name: string
  readonly rows: RowOutcome[]
}

function panelsOf(rows: readonly RowOutcome[], { panel }: Curve): Panel[] {
  const panels = new Map<string, Panel>()
  for (const row of rows) {
    const value = panel === undefined ? undefined : row.params[panel]
    const key = `${row.unit} ${value ?? ''}`
    const found = panels.get(key) ?? { name: value === undefined ? '' : String(value), rows: [] }
    found.rows.push(row)
    panels.set(key, found)
  }
  return [...panels.values()]
}

/** Points of each contestant, in the order of the rows; who has a point for no row has no line. */
function linesOf(rows: readonly RowOutcome[], curve: Curve): Map<string, Point[]> {
  const lines = new Map<string, Point[]>()
  for (const row of rows)
    for (const contestant of row.contestants) {
      const x = pick(row, contestant, curve.x)
      const y = pick(row, contestant, curve.y ?? 'value')
      if (x === undefined || y === undefined) continue
      lines.set(contestant.name, [...(lines.get(contestant.name) ?? []), { x, y }])
    }
  return lines
}

function pick(row: RowOutcome, contestant: ContestantOutcome, name: string): number | undefined {
  const measured = summarize(figuresOf(contestant, name))?.median
  if (measured === undefined)
    return name in row.params && contestant.state === 'measured' ? Number(row.params[name]) : undefined
  return measured
}

/** More than this between the least and the most, and a linear axis would press the small ones flat. */
const WIDE = 30

function axis(values: readonly number[], name: string, which: 'x' | 'y'): object {
  const min = Math.min(...values)
  const max = Math.max(...values)
  const wide = min > 0 && max / min >= WIDE
  // Nought has no logarithm: 0, 1, 10 and 100 readers stand side by side then.
  const steps = which === 'x' && min === 0 && max >= WIDE
  return {
    ...(steps ? { data: [...new Set(values)].sort((a, b) => a - b).map(String), boundaryGap: false } : {}),
    type: steps ? 'category' : wide ? 'log' : 'value',
    // A logarithmic axis begins at the power of ten below; a linear one shows where nought is.
    ...(steps ? {} : { min: wide ? 10 ** Math.floor(Math.log10(min)) : Math.min(0, min) }),
    name: `${name}${wide ? ' (logarithmic)' : ''}`,
    nameLocation: 'middle',
    nameGap: which === 'x' ? 30 : 64,
    nameTextStyle: { color: INK, fontSize: 12 },
    axisLabel: { color: INK, fontSize: 11, ...(steps ? {} : { formatter: (value: number) => figure(value) }) },
    axisLine: { show: true, lineStyle: { color: FAINT } },
    splitLine: { lineStyle: { color: FAINT } },
    minorTick: { show: false }
  }
}

const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'roundRect', 'arrow', 'emptyCircle']

function line(name: string, points: readonly Point[], index: number, names: readonly string[]): object {
  const color = colourOf(name)
  return {
    type: 'line',
    name,
    xAxisIndex: index,
    yAxisIndex: index,
    silent: true,
    // Told apart by shape as well as by colour.
    symbol: SYMBOLS[names.indexOf(name) % SYMBOLS.length],
    symbolSize: 8,
    lineStyle: { width: name === 'heartwood' ? 3 : 1.5, color, type: name === 'ceiling' ? 'dashed' : 'solid' },
    itemStyle: { color },
    z: name === 'heartwood' ? 3 : 2,
    data: points.map(({ x, y }) => [String(x), y])
  }
}
