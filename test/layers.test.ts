/**
 * Rules that hold for every file of lib/, read out of the sources with TypeScript's own parser.
 *
 * A layer imports itself and lower ones, never one above or beside it. Time, chance and the disk come in through
 * `Clock`, a seeded source and `FileSystem`, so that the same code runs in production and in a simulator.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { projectRoot } from './helpers/paths.ts'

/** Lowest first; `index` is lib/index.ts, the public names. */
const LAYERS = [
  'util',
  'fs',
  'record',
  'segment',
  'log',
  'compaction',
  'store',
  'topic',
  'group',
  'transaction',
  'replication',
  'events',
  'wire',
  'streams',
  'connect',
  'schema',
  'verify',
  'index',
  'disk-bench',
  'cli'
]

const MOST_LINES_OF_A_FILE = 499
const MOST_LINES_OF_A_FUNCTION = 69

/** Where the platform is met directly: layers and files whose business it is. */
const PLATFORM = ['fs/', 'disk-bench/', 'cli/', 'util/clock.ts']

/** What other files may use of it, and why. */
const EXCEPTIONS: Record<string, { uses: string[]; because: string }> = {
  'record/compression/zstd-wasm.ts': {
    uses: ['node:fs'],
    because: 'reads the WebAssembly module of a package, once; no data of ours goes through it'
  },
  'compaction/key-hash.ts': {
    uses: ['node:fs'],
    because: 'reads the WebAssembly module of a package, once; no data of ours goes through it'
  },
  'store/open-file-limit.ts': { uses: ['node:fs'], because: 'reads the limit of open files from /proc, once' }
}

const TIME_AND_CHANCE = ['Date.now', 'Math.random', 'performance.now', 'process.hrtime', 'setTimeout', 'setInterval']

interface Source {
  /** Below lib/, with forward slashes: `log/reader.ts`. */
  readonly path: string
  readonly file: ts.SourceFile
}

function source(path: string, text: string): Source {
  return { path, file: ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true) }
}

function libSources(): Source[] {
  const names = readdirSync(join(projectRoot, 'lib'), { recursive: true, encoding: 'utf8' })
  const paths = names.filter(name => name.endsWith('.ts')).map(name => name.replaceAll('\\', '/'))
  return paths.sort().map(path => source(path, readFileSync(join(projectRoot, 'lib', path), 'utf8')))
}

function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node)
  ts.forEachChild(node, child => visit(child, see))
}

function lineOf({ file }: Source, node: ts.Node): number {
  return file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1
}

interface Import {
  readonly specifier: string
  readonly line: number
}

/** Every module that a file names: imports, re-exports, types, `import()` and `require()`. */
function importsOf(from: Source): Import[] {
  const imports: Import[] = []
  visit(from.file, node => {
    let name: ts.Node | undefined
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) name = node.moduleSpecifier
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) name = node.argument.literal
    else if (ts.isCallExpression(node)) {
      const called = node.expression
      const loads = called.kind === ts.SyntaxKind.ImportKeyword || called.getText(from.file).startsWith('require')
      if (loads) name = node.arguments[0]
    }
    if (name !== undefined && ts.isStringLiteralLike(name))
      imports.push({ specifier: name.text, line: lineOf(from, node) })
  })
  return imports
}

function layerOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path.replace(/\.ts$/, '')
}

function layerBreaches(from: Source): string[] {
  const own = LAYERS.indexOf(layerOf(from.path))
  if (own === -1) return [`lib/${from.path} belongs to no layer`]
  const breaches: string[] = []
  for (const { specifier, line } of importsOf(from)) {
    if (!specifier.startsWith('.')) continue
    const target = posix.normalize(posix.join(posix.dirname(from.path), specifier))
    const layer = LAYERS.indexOf(layerOf(target))
    if (target.startsWith('..')) breaches.push(`lib/${from.path}:${line} imports ${specifier} from outside lib/`)
    else if (layer === -1 || layer > own) breaches.push(`lib/${from.path}:${line} imports lib/${target}, a layer above`)
  }
  return breaches
}

function platformBreaches(from: Source): string[] {
  if (PLATFORM.some(place => from.path === place || (place.endsWith('/') && from.path.startsWith(place)))) return []
  const used = importsOf(from)
    .filter(({ specifier }) => /^(node:)?(fs|net|dgram|child_process)(\/|$)/.test(specifier))
    .map(({ specifier, line }) => ({ name: `node:${specifier.replace(/^node:/, '').replace(/\/.*/, '')}`, line }))
  visit(from.file, node => {
    const called = ts.isCallExpression(node) && ts.isIdentifier(node.expression) ? node.expression.text : undefined
    const member = ts.isPropertyAccessExpression(node) ? node.getText(from.file) : undefined
    const name = TIME_AND_CHANCE.find(one => one === called || one === member)
    if (name !== undefined) used.push({ name, line: lineOf(from, node) })
  })
  const allowed = EXCEPTIONS[from.path]?.uses ?? []
  return used
    .filter(({ name }) => !allowed.includes(name))
    .map(({ name, line }) => `lib/${from.path}:${line} uses ${name}`)
}

function longFunctions(from: Source): string[] {
  const long: string[] = []
  visit(from.file, node => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return
    const lines = from.file.getLineAndCharacterOfPosition(node.end).line + 2 - lineOf(from, node)
    const name = node.name?.getText(from.file) ?? 'a function'
    if (lines > MOST_LINES_OF_A_FUNCTION) long.push(`lib/${from.path}:${lineOf(from, node)} ${name}: ${lines} lines`)
  })
  return long
}

function longFile({ path, file }: Source): string[] {
  const lines = file.text.split('\n').length - (file.text.endsWith('\n') ? 1 : 0)
  return lines > MOST_LINES_OF_A_FILE ? [`lib/${path}: ${lines} lines`] : []
}

/** `await` outside every function: it would keep `require()` from loading the module. */
function topLevelAwaits(from: Source): string[] {
  const found: string[] = []
  const descend = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) return
    const waits = ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)
    if (waits) found.push(`lib/${from.path}:${lineOf(from, node)}`)
    ts.forEachChild(node, descend)
  }
  descend(from.file)
  return found
}

const sources = libSources()

t.test('a layer imports only itself and lower ones', async t => {
  t.ok(sources.length > 0)
  t.same(sources.flatMap(layerBreaches), [])
})

t.test('time, chance, the disk and the network come in through their interfaces', async t => {
  t.same(sources.flatMap(platformBreaches), [])
})

t.test('no exception is allowed that nobody makes use of', async t => {
  for (const [path, { uses }] of Object.entries(EXCEPTIONS)) {
    const file = sources.find(one => one.path === path)
    t.ok(file, path)
    if (file !== undefined)
      t.ok(
        importsOf(file).some(({ specifier }) => uses.includes(specifier)),
        path
      )
  }
})

t.test('files stay below 500 lines and functions below 70', async t => {
  t.same(sources.flatMap(longFile), [])
  t.same(sources.flatMap(longFunctions), [])
})

t.test('nothing in lib/ awaits while it is loaded', async t => {
  t.same(sources.flatMap(topLevelAwaits), [])
})

t.test('a breach of any of these rules is seen', async t => {
  const breach = (path: string, text: string) => layerBreaches(source(path, text)).length
  t.equal(breach('log/a.ts', "import { a } from '../segment/b.ts'\nimport './c.ts'\nimport 'node:fs'"), 0)
  t.equal(breach('log/a.ts', "import { a } from '../store/b.ts'"), 1)
  t.equal(breach('log/a.ts', "import type { a } from '../store/b.ts'"), 1, 'a type is a dependency too')
  t.equal(breach('log/a.ts', "export * from '../cli/b.ts'"), 1)
  t.equal(breach('log/a.ts', "export const b = () => import('../store/b.ts')"), 1)
  t.equal(breach('log/a.ts', "let a: import('../store/b.ts').A"), 1)
  t.equal(breach('log/a.ts', "import '../index.ts'"), 1)
  t.equal(breach('log/a.ts', "import '../unheard-of/a.ts'"), 1)
  t.equal(breach('cli/a.ts', "import '../../test/a.ts'"), 1)
  t.equal(breach('unheard-of/a.ts', ''), 1)

  const platform = (path: string, text: string) => platformBreaches(source(path, text)).length
  t.equal(platform('log/a.ts', "import { open } from 'node:fs/promises'"), 1)
  t.equal(platform('log/a.ts', "import fs from 'fs'"), 1)
  t.equal(platform('log/a.ts', 'const now = Date.now'), 1)
  t.equal(platform('log/a.ts', 'setTimeout(() => Math.random(), 1)'), 2)
  t.equal(platform('log/a.ts', '// Date.now() in a comment\nthis.clock.setTimer(1, f)'), 0)
  t.equal(platform('fs/a.ts', "import fs from 'node:fs'"), 0)

  const body = 'x\n'.repeat(80)
  t.equal(longFunctions(source('log/a.ts', `function f() {\n${body}}`)).length, 1)
  t.equal(longFunctions(source('log/a.ts', `class A { #f = () => {\n${body}} }`)).length, 1)
  t.equal(longFile(source('log/a.ts', 'x\n'.repeat(500))).length, 1)
  t.equal(longFile(source('log/a.ts', 'x\n'.repeat(499))).length, 0)
  t.equal(topLevelAwaits(source('log/a.ts', 'const a = await b\nfor await (const c of d) {}')).length, 2)
  t.equal(topLevelAwaits(source('log/a.ts', 'const a = async () => { await b }')).length, 0)
})
