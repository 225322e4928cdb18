/**
 * What the benchmarks compare must be the same work: every engine takes the same records and gives them back. The
 * rivals are packages of their own that need not be installed; a run of the suite meets them.
 */
import { mkdir } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { MAX_APPEND_BYTES } from '../../bench/engines/ceiling-encoder.ts'
import type { Engine, Level, Rec } from '../../bench/engines/engine.ts'
import { openBenchLog } from '../../bench/engines/heartwood.ts'
import { loadEngine, RivalMissing, requireRival } from '../../bench/engines/load.ts'
import { packRecords, parseText, textOf, unpackRecord } from '../../bench/engines/packing.ts'
import { appendsOf, recordPool } from '../../bench/harness/data.ts'
import type { Shape } from '../../bench/harness/question.ts'
import type { LazyRecord } from '../../lib/index.ts'
import { tempDir } from '../helpers/paths.ts'

const SHAPES: readonly Shape[] = [
  { keyBytes: 10, valueBytes: 90 },
  { keyBytes: 4, valueBytes: 16 },
  { keyBytes: 16, valueBytes: 1008, headers: 3 },
  { keyBytes: 16, valueBytes: 10_224 }
]

async function fill(engine: Engine, directory: string, level: Level, appends: readonly (readonly Rec[])[]) {
  const appender = await engine.appender!(directory, level)
  // Half of them one by one, half together, as the questions do.
  const half = appends.length >>> 1
  for (const records of appends.slice(0, half)) await appender.append(records)
  await Promise.all(appends.slice(half).map(records => appender.append(records)))
  await appender.close()
}

for (const name of ['heartwood', 'ceiling', 'json-lines']) {
  t.test(`${name} gives back what was appended`, async t => {
    const engine = await loadEngine(name)
    for (const [index, shape] of SHAPES.entries()) {
      for (const level of ['written', 'synced'] as const) {
        const directory = await tempDir(t)
        const appends = appendsOf(recordPool(shape), index === 0 ? 1 : 7).slice(0, 60)
        await fill(engine, directory, level, appends)
        const records = appends.flat()
        const bytes = records.length * (shape.keyBytes + shape.valueBytes)
        for (const kind of ['cursor', 'lazy', 'eager'] as const) {
          const scanner = await engine.scanner!(directory, kind)
          if (scanner === undefined) continue
          t.same(await scanner.scan(), { records: records.length, bytes }, `${level}, ${kind}, shape ${index}`)
          await scanner.close()
        }
        const reader = await engine.pointReader!(directory, { cacheBytes: 0 })
        for (const position of [0, 11, records.length - 1]) t.equal(await reader.get(position), shape.valueBytes)
        await reader.close()
      }
    }
  })
}

t.test('a log of the bare loop is a log: heartwood opens it and reads the same records', async t => {
  const directory = await tempDir(t)
  const appends = appendsOf(recordPool({ keyBytes: 10, valueBytes: 300, headers: 2 }), 150).slice(0, 12)
  await mkdir(`${directory}/bench-0`)
  await fill(await loadEngine('ceiling'), `${directory}/bench-0`, 'written', appends)
  const { store, log } = await openBenchLog(directory)
  const expected = appends.flat()
  const read: LazyRecord[] = []
  for await (const record of log.records()) read.push(record)
  t.equal(read.length, expected.length)
  const differing = read.findIndex(({ offset, key, value, headers }, i) => {
    const { key: wantedKey, value: wantedValue, headers: wantedHeaders } = expected[i]!
    const isSame = offset === i && key?.equals(wantedKey) === true && value?.equals(wantedValue) === true
    return !isSame || !isDeepStrictEqual(headers, wantedHeaders)
  })
  t.equal(differing, -1)
  await store.close()
})

t.test('records come back out of what key-value stores and stores of text are given', async t => {
  for (const shape of SHAPES) {
    const records = recordPool(shape).slice(0, 20)
    t.same(
      packRecords(records).map(unpackRecord),
      records.map(({ key, value }) => ({ key, value }))
    )
    t.same(
      records.map(record => parseText(textOf(record))),
      records.map(({ keyText, valueText }) => ({ key: keyText, value: valueText }))
    )
  }
})

t.test('records are the same on every run, of the size asked for, and their text is their bytes', async t => {
  for (const shape of SHAPES) {
    const pool = recordPool(shape)
    t.same(pool.slice(0, 5), recordPool(shape).slice(0, 5))
    t.ok(pool.every(({ key, value }) => key.length === shape.keyBytes && value.length === shape.valueBytes))
    t.ok(pool.every(({ key, keyText }) => Buffer.from(keyText).equals(key)))
    t.ok(pool.every(({ value, valueText }) => Buffer.from(valueText).equals(value)))
    t.ok(pool.every(({ headers }) => (headers?.length ?? 0) === (shape.headers ?? 0)))
    t.equal(new Set(pool.map(({ keyText, valueText }) => `${keyText} ${valueText}`)).size, pool.length, 'distinct')
    t.ok(appendsOf(pool, 100).every(append => append.length === 100))
  }
})

t.test('the largest append of the questions fits into the arena of the bare loop', async t => {
  t.ok(10_000 * (100 + 16) + 61 < MAX_APPEND_BYTES)
})

t.test('a rival that is not installed is told from an engine that does not exist', async t => {
  t.throws(() => requireRival('heartwood-no-such-package'), RivalMissing)
  await t.rejects(loadEngine('no-such-engine'), RangeError)
})
