/**
 * The part of the package echarts that charts.ts uses, and colours that can be read on light and on dark.
 *
 * Each colour is written into the SVG as an attribute in a middle tone, which every viewer shows and which is legible
 * on white as on near black. A style sheet in the SVG then says `prefers-color-scheme`, which browsers follow: text
 * becomes darker on light and lighter on dark.
 */
import { requireRival } from '../engines/load.ts'

interface Echarts {
  init(
    element: null,
    theme: null,
    options: { readonly renderer: 'svg'; readonly ssr: true; readonly width: number; readonly height: number }
  ): { setOption(option: object): void; renderToSVGString(): string; dispose(): void }
}

/** Text and the lines over bars; no bar has just this colour, so the style sheet finds them by their attribute. */
export const INK = '#727a86'
/** Lines of the grid: faint on both. */
export const FAINT = 'rgba(128,134,142,0.35)'

const OURS = '#1f8a4c'
const BARE = '#7d8590'
const RIVALS = ['#3b7dd8', '#bf6a15', '#8a63d2', '#c4457e', '#0f8b8d', '#8f7430', '#a4514f', '#5d7f3a']
const KNOWN = ['lmdb', 'better-sqlite3', 'classic-level', 'event-storage', 'json-lines', 'better-sqlite3-group']

/** The same colour for the same contestant in every chart. */
export function colourOf(contestant: string): string {
  if (contestant === 'heartwood') return OURS
  if (contestant === 'ceiling') return BARE
  const known = KNOWN.indexOf(contestant)
  if (known !== -1) return RIVALS[known]!
  let hash = 0
  for (const character of contestant) hash = (hash * 31 + character.charCodeAt(0)) % 997
  return RIVALS[hash % RIVALS.length]!
}

/** @throws {RivalMissing} where the package is not installed. */
export function renderSvg(option: object, size: { width: number; height: number }, title: string): string {
  const echarts = requireRival<Echarts>('echarts')
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, ...size })
  try {
    chart.setOption({ animation: false, backgroundColor: 'transparent', textStyle: { fontFamily: FONT }, ...option })
    return withStyle(chart.renderToSVGString(), title)
  } finally {
    chart.dispose() // It holds a timer that would keep the process.
  }
}

export const FONT = 'system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'

const STYLE = `<style>
@media (prefers-color-scheme: light) { [fill="${INK}"] { fill: #24292f } [stroke="${INK}"] { stroke: #24292f } }
@media (prefers-color-scheme: dark) { [fill="${INK}"] { fill: #d5dbe1 } [stroke="${INK}"] { stroke: #d5dbe1 } }
</style>`

/** Ours for the one of echarts, which is for a mouse; and a title for those who cannot see it. */
function withStyle(svg: string, title: string): string {
  const plain = svg
    .replace(/<style\b[\s\S]*?<\/style>\s*/g, '')
    .replace(/ (class|ecmeta_[a-z_]+|pointer-events|baseProfile|version)="[^"]*"/g, '')
  const escaped = title.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `${plain.replace(/<svg\b[^>]*>/, open => `${open.replace('<svg', '<svg role="img"')}\n<title>${escaped}</title>\n${STYLE}`).trim()}\n`
}
