/** Files of lines, and what the command line is given. */

import { isUtf8 } from 'node:buffer'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { parseArguments } from '../../lib/cli/command-line.ts'
import { type Context, isUsageError, parseConfigOptions, parseTime } from '../../lib/cli/common.ts'
import { ENCODINGS, type Encoding } from '../../lib/cli/encoding.ts'
import { Output } from '../../lib/cli/output.ts'
import { lineParser } from '../../lib/cli/record-lines.ts'
import {
  formatCheckpoint,
  parseCheckpoint,
  parseCheckpointNumber,
  readOffsetCheckpoint
} from '../../lib/fs/checkpoint-file.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { formatHolds, parseHolds } from '../../lib/log/holds-file.ts'
import { LEADER_EPOCH_FILE, LeaderEpochs } from '../../lib/log/leader-epochs.ts'
import { parseTopicConfigs } from '../../lib/log/log-config.ts'
import { formatManifest, parseManifest, type SealedSegment } from '../../lib/log/manifest.ts'
import { formatMetaProperties, parseMetaProperties } from '../../lib/store/meta-properties.ts'
import { formatPartitionMetadata, parsePartitionMetadata } from '../../lib/store/partition-metadata.ts'
import { emptyTopicsFile, formatTopicsFile, parseTopicsFile } from '../../lib/store/topics-file.ts'
import { randomKafkaUuid } from '../../lib/store/uuid.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { DIR, putFiles } from '../helpers/partition-folder.ts'
import { goldenFiles } from './golden-files.ts'
import { claim, mendCrcLine, type Target, wordFields } from './target.ts'

const offset = fc.nat({ max: 2 ** 45 })
const CORRUPT = ['CORRUPT_FILE', 'UNSUPPORTED_VERSION'] as const

/** The count of lines, in a checkpoint. */
function mendCount(bytes: Buffer): void {
  const lines = bytes.toString('latin1').split('\n')
  const count = String(lines.length - 3)
  const at = lines[0]!.length + 1
  if (lines.length > 3 && lines[1]!.length === count.length) bytes.write(count, at, 'latin1')
}

/** A folder with one file in it. */
async function folderWith(name: string, bytes: Buffer): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem()
  await putFiles(fs, { [name]: bytes })
  return fs
}

const checkpoint: Target = {
  name: 'checkpoint',
  modules: ['fs/checkpoint-file', 'fs/replace-file'],
  refusals: CORRUPT,
  sound: fc
    .array(fc.tuple(fc.stringMatching(/^[a-zA-Z0-9._-]{1,12}$/), fc.nat({ max: 300 }), offset), { maxLength: 6 })
    .map(lines => formatCheckpoint(lines.map(parts => parts.join(' ')))),
  samples: () => goldenFiles('-offset-checkpoint'),
  fields: wordFields,
  mend: mendCount,
  decode: async bytes => {
    const fs = await folderWith('recovery-point-offset-checkpoint', bytes)
    const offsets = await readOffsetCheckpoint(fs, `${DIR}/recovery-point-offset-checkpoint`)
    for (const [folder, at] of offsets) {
      claim(Number.isSafeInteger(at) && at >= 0, `offset ${at}`)
      claim(bytes.includes(folder.slice(0, folder.lastIndexOf('-'))) || !isUtf8(bytes), 'a topic that is not there')
    }
    return 20 * bytes.length + 4096
  }
}

const leaderEpochs: Target = {
  name: 'leader-epochs',
  modules: ['log/leader-epochs', 'fs/checkpoint-file'],
  refusals: CORRUPT,
  sound: fc
    .array(fc.tuple(fc.nat({ max: 100 }), offset), { maxLength: 8 })
    .map(lines =>
      formatCheckpoint(lines.sort(([a], [b]) => a - b).map(([epoch, start], index) => `${epoch} ${start + index}`))
    ),
  samples: () => goldenFiles(LEADER_EPOCH_FILE),
  fields: wordFields,
  mend: mendCount,
  decode: async bytes => {
    const { entries } = await LeaderEpochs.load(await folderWith(LEADER_EPOCH_FILE, bytes), DIR)
    const lines = new Set(
      parseCheckpoint(bytes, 'x', fields => fields.map(field => parseCheckpointNumber(field) ?? field).join(' '))
    )
    let [lastEpoch, lastStart] = [-1, -1]
    for (const { epoch, startOffset } of entries) {
      claim(epoch > lastEpoch && startOffset > lastStart, `epoch ${epoch} from ${startOffset} is not in order`)
      claim(lines.has(`${epoch} ${startOffset}`), `epoch ${epoch} from ${startOffset} is not in the file`)
      lastEpoch = epoch
      lastStart = startOffset
    }
    return 20 * bytes.length + 4096
  }
}

const sealed = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 2 ** 30 }), fc.nat(), fc.boolean()), { maxLength: 5 })
  .map(list => {
    let baseOffset = 0
    return list.map(([count, bytes, isKnown]): SealedSegment => {
      const segment = {
        baseOffset,
        bytes,
        nextOffset: baseOffset + count,
        state: isKnown ? ('sealed' as const) : ('compacted' as const),
        digest: isKnown ? { batches: count, hash: '0123456789abcdef' } : undefined,
        verifiedMs: isKnown ? 1_700_000_000_000 : undefined,
        transactions: isKnown ? { bytes: 34, crc: 0x0abcdef0 } : undefined
      }
      baseOffset += count
      return segment
    })
  })

const manifest: Target = {
  name: 'manifest',
  modules: ['log/manifest'],
  refusals: CORRUPT,
  sound: fc.tuple(sealed, fc.boolean(), offset).map(([segments, isOpen, logStartOffset]) => {
    const baseOffset = segments.at(-1)?.nextOffset ?? 0
    const active = { baseOffset, nextOffset: baseOffset + 1, transactions: { bytes: 0, crc: 0 } }
    return formatManifest({ logStartOffset, sealed: segments, active: isOpen ? active : undefined })
  }),
  fields: wordFields,
  mend: mendCrcLine,
  decode: bytes => {
    const parsed = parseManifest(bytes)
    claim(formatManifest(parseManifest(formatManifest(parsed))).equals(formatManifest(parsed)), 'another manifest')
    let next = 0
    for (const { baseOffset, nextOffset, bytes: length } of parsed.sealed) {
      claim(baseOffset >= next && nextOffset >= baseOffset && Number.isSafeInteger(nextOffset + length), 'the order')
      next = nextOffset
    }
    claim((parsed.active?.baseOffset ?? next) >= next && Number.isSafeInteger(parsed.logStartOffset), 'the active one')
    return 20 * bytes.length
  }
}

const limit = fc.option(fc.nat({ max: 2 ** 45 }), { nil: undefined })
const hold = fc.record({
  name: fc.string({ minLength: 1, maxLength: 12, unit: 'binary' }),
  offset,
  movedMs: offset,
  limitMs: limit,
  limitBytes: limit,
  brokenMs: limit
})

const holds: Target = {
  name: 'holds',
  modules: ['log/holds-file'],
  refusals: CORRUPT,
  sound: fc.uniqueArray(hold, { maxLength: 4, selector: ({ name }) => name }).map(formatHolds),
  fields: wordFields,
  mend: mendCrcLine,
  decode: bytes => {
    const parsed = parseHolds(bytes)
    const again = parseHolds(formatHolds(parsed))
    claim(JSON.stringify(again) === JSON.stringify(parsed), 'what it gave cannot be written and read')
    for (const { offset: at, movedMs } of parsed)
      claim(Number.isSafeInteger(at + 0) && Number.isSafeInteger(movedMs), 'a number')
    return 20 * bytes.length
  }
}

const topics: Target = {
  name: 'topics-file',
  modules: ['store/topics-file'],
  refusals: CORRUPT,
  sound: fc
    .array(
      fc.tuple(
        fc.stringMatching(/^[a-z]{1,8}$/),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        fc.constantFrom(undefined, 'delete' as const, { create: [0, 1] })
      ),
      { maxLength: 4 }
    )
    .map(entries => {
      const file = emptyTopicsFile()
      for (const [name, partitions, isOurs, pending] of entries) {
        const configs = new Map(isOurs ? [['retention.ms', '-1']] : [])
        file.topics.set(name, {
          topicId: randomKafkaUuid(),
          partitions,
          origin: isOurs ? 'created' : 'adopted',
          configs,
          pending
        })
      }
      file.brokerEpoch = entries.length > 1 ? 7n : undefined
      file.checkpoints.set('recovery-point-offset-checkpoint', ['none', '0123456789abcdef0123456789abcdef'])
      if (entries.length > 2) file.marker = { digest: '0123456789abcdef0123456789abcdef', confirmed: true }
      return formatTopicsFile(file)
    }),
  fields: wordFields,
  mend: bytes => {
    const end = bytes.indexOf(10)
    if (end < 0) return
    const body = bytes.subarray(end + 1)
    const head = `heartwood-topics 1 ${body.length} ${crc32c(body, 0, body.length).toString(16).padStart(8, '0')}`
    if (head.length === end) bytes.write(head, 'latin1')
  },
  decode: bytes => {
    const parsed = parseTopicsFile(bytes, 'x')
    const once = formatTopicsFile(parsed)
    claim(formatTopicsFile(parseTopicsFile(once, 'x')).equals(once), 'what it gave cannot be written and read')
    for (const { partitions } of parsed.topics.values())
      claim(Number.isSafeInteger(partitions) && partitions >= 0, `${partitions} partitions`)
    return 20 * bytes.length
  }
}

const partitionMetadata: Target = {
  name: 'partition-metadata',
  modules: ['store/partition-metadata', 'store/uuid'],
  refusals: CORRUPT,
  sound: fc.constant(0).map(() => formatPartitionMetadata(randomKafkaUuid())),
  samples: () => goldenFiles('partition.metadata'),
  fields: wordFields,
  decode: bytes => {
    const topicId = parsePartitionMetadata(bytes, 'x')
    claim(bytes.includes(topicId) && Buffer.from(topicId, 'base64url').length === 16, `topic id ${topicId}`)
    return bytes.length
  }
}

const metaProperties: Target = {
  name: 'meta-properties',
  modules: ['store/meta-properties'],
  refusals: CORRUPT,
  sound: fc
    .tuple(
      fc.constantFrom(0 as const, 1 as const),
      fc.option(fc.string({ maxLength: 30 }), { nil: undefined }),
      fc.nat()
    )
    .map(([version, clusterId, nodeId]) => formatMetaProperties({ version, clusterId, nodeId, directoryId: 'Zm9v' })),
  samples: () => goldenFiles('meta.properties'),
  fields: wordFields,
  decode: bytes => {
    const parsed = parseMetaProperties(bytes, 'x')
    const again = parseMetaProperties(formatMetaProperties(parsed), 'x')
    claim(JSON.stringify(again) === JSON.stringify(parsed), 'what it gave cannot be written and read')
    return 20 * bytes.length
  }
}

const PARSERS = ENCODINGS.flatMap(encoding => [
  lineParser({ json: true, keySeparator: undefined, encoding }),
  lineParser({ json: false, keySeparator: ':', encoding })
])

const jsonText = fc
  .record(
    {
      key: fc.oneof(fc.string(), fc.constant(null), fc.constant({ base64: 'AAECAw==' })),
      value: fc.oneof(fc.string({ unit: 'binary' }), fc.constant('00ff')),
      headers: fc.array(fc.tuple(fc.string(), fc.string())),
      timestamp: fc.oneof(fc.nat(), fc.maxSafeInteger()),
      partition: fc.nat({ max: 9 })
    },
    { requiredKeys: [] }
  )
  .map(given => Buffer.from(JSON.stringify(given)))

/** What is stored is what the line said: no byte, no half of a pair, no rest of base64 became something else. */
function claimNothingReplaced(line: Buffer, encoding: Encoding, key: Buffer | null, value: Buffer | null): void {
  claim(isUtf8(line), 'bytes that are no text were read as text')
  const given = JSON.parse(line.toString()) as Record<string, unknown>
  for (const [name, bytes] of Object.entries({ key, value })) {
    const text = Object.hasOwn(given, name) ? given[name] : undefined
    if (typeof text !== 'string' || bytes === null) continue
    const back = encoding === 'utf8' ? bytes.toString() : bytes.toString(encoding)
    const meant = encoding === 'base64' ? withoutSpelling(text) : encoding === 'hex' ? text.toLowerCase() : text
    const got = encoding === 'base64' ? withoutSpelling(back) : back
    claim(got === meant || (encoding === 'base64' && isSameBits(got, meant)), `${name} ${meant} was stored as ${got}`)
  }
}

const withoutSpelling = (base64: string): string => base64.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '')

/** The last digit may have bits that no byte takes. */
const isSameBits = (a: string, b: string): boolean => a.length === b.length && a.slice(0, -1) === b.slice(0, -1)

const recordLines: Target = {
  name: 'json-lines',
  modules: ['cli/record-lines', 'cli/encoding'],
  refusals: [],
  sound: jsonText,
  fields: wordFields,
  decode: line => {
    let output = 0
    for (const [index, parse] of PARSERS.entries()) {
      try {
        const { record, bytes, partition } = parse(line)
        output += bytes
        claim(partition === undefined || (Number.isSafeInteger(partition) && partition >= 0), `partition ${partition}`)
        if (index % 2 === 0) claimNothingReplaced(line, ENCODINGS[index / 2]!, record.key, record.value)
      } catch (error) {
        // The command says in which line, and that it is a TypeError's message.
        if (!(error instanceof TypeError) || !/^(is|has|must) /.test(error.message)) throw error
      }
    }
    return 20 * (output + line.length)
  }
}

const WORDS = [
  ...['topics', 'create', 'list', 'describe', 'alter', 'delete', 'hand-over', 'produce', 'consume', 'offsets', 'dump'],
  ...['backup', 'retain', 'delete-records', 'compact', 'erase', 'bench', 'orders', '--dir', 'x', '--json', '--config'],
  ...['segment.bytes=1000', 'retention.ms=-1', '--partition', '0', '--timestamp', '2026-11-21', '--offset', 'earliest'],
  ...['--encoding', 'hex', '--key-separator', ':', '--now', '5', '--before', '--to', '--yes', '--key', '--force', '-h'],
  ...[
    '--max-messages',
    '--until-offset',
    '--follow',
    '--version',
    '--help',
    '--',
    '-',
    '',
    '--no-json',
    '--dir=y',
    '--constructor',
    '--to-string=1'
  ]
]

/** One argument a line. Nothing is run: only what would be. */
const options: Target = {
  name: 'options',
  modules: [
    'cli/command-line',
    'cli/options',
    'cli/common',
    'cli/usage-messages',
    'log/log-config',
    'log/topic-settings'
  ],
  refusals: ['INVALID_CONFIG'],
  sound: fc.array(fc.constantFrom(...WORDS), { maxLength: 10 }).map(words => Buffer.from(words.join('\n'))),
  fields: bytes => wordFields(bytes),
  decode: async bytes => {
    // No shell passes bytes that are no text, or a zero.
    const args = bytes.toString('utf8').replaceAll('\0', '').split('\n')
    if (args.some(arg => arg.includes('get-yargs'))) return 0
    const stdout = new PassThrough()
    stdout.resume()
    const terminal = { stdin: stdout, stdout, stderr: stdout, interrupted: new AbortController().signal }
    const context: Context = { terminal, out: new Output(stdout), say: () => {} }
    const tried: (() => unknown)[] = [
      () => parseArguments(args, context),
      () => args.map(parseTime),
      () => parseTopicConfigs(new Map(Object.entries(parseConfigOptions(args))))
    ]
    for (const attempt of tried) {
      try {
        await attempt()
      } catch (error) {
        if (!isUsageError(error)) throw error
        claim((error as Error).message.trim() !== '', 'wrong usage, and not what is wrong')
      }
    }
    // Pages of help come with it.
    return MiB
  }
}

export const TEXT_TARGETS: readonly Target[] = [
  ...[checkpoint, leaderEpochs, manifest, holds, topics, partitionMetadata, metaProperties, recordLines, options]
]
