/**
 * `heartwood-topics`, our side-car in a data directory: what Kafka keeps in its own metadata log and a directory
 * alone does not tell.
 *
 * Format (UTF-8), replaced in one step:
 *
 *     file := head '\n' body
 *     head := "heartwood-topics" SP version SP length SP crc      // "1", bytes of body, CRC-32C of body, 8 hex digits
 *     body := JSON { topics, trash, unseen, marker?, brokerEpoch?, checkpoints }
 *
 *     topics       [{ name, topicId?, partitions, origin, configs, pending? }]
 *     trash        [FOLDER]      folders named `…-delete` that are ours to remove
 *     unseen       [FOLDER]      partitions whose side-cars predate another engine's visit
 *     marker       { digest, confirmed }                  the clean-shutdown marker that we wrote or found last
 *     brokerEpoch  of the marker found last, which outlives a crash of ours
 *     checkpoints  { FILE: [digest, …] }                  what a checkpoint of ours may look like; "none": not there
 *
 * Invariants:
 *   T1  A topic's settings are there before its first folder (`pending`), so that no crash leaves a topic
 *       of ours with settings that nobody knows. What a crash interrupted is finished by the next open for writing.
 *   T2  A digest is there before the file that it describes; the one before it stays with it until the next.
 *   T3  `marker.confirmed` is written after the marker itself: from then on its absence means that another engine
 *       took it (decision: another engine was here).
 *   T4  Damage costs settings, never data: topics without settings are kept for ever.
 *
 * Pure, but for `readTopicsFile`.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { assertTopicName } from '../segment/file-names.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'

export const TOPICS_FILE = 'heartwood-topics'
export const TOPICS_FILE_VERSION = 1
/** In the place of a digest: the file may not be there yet. */
export const NO_CHECKPOINT = 'none'
/** 10,000 topics with ten settings each have 5 MB. */
export const TOPICS_FILE_MAX_BYTES = 256 * 1024 * 1024

export interface TopicEntry {
  readonly topicId: string | undefined
  /** Of all data directories together. */
  readonly partitions: number
  /** `created` here: all settings are known. `adopted`: only those that `alter` stated. */
  readonly origin: 'created' | 'adopted'
  /** Kafka's keys and values, as they were given. */
  readonly configs: ReadonlyMap<string, string>
  /** What a crash may have interrupted: partitions of this directory being created, or the topic's removal. */
  readonly pending?: { readonly create: readonly number[] } | 'delete' | undefined
}

export interface TopicsFile {
  readonly topics: Map<string, TopicEntry>
  readonly trash: Set<string>
  readonly unseen: Set<string>
  marker: { readonly digest: string; readonly confirmed: boolean } | undefined
  brokerEpoch: bigint | undefined
  readonly checkpoints: Map<string, readonly string[]>
}

export function emptyTopicsFile(): TopicsFile {
  return {
    topics: new Map(),
    trash: new Set(),
    unseen: new Set(),
    marker: undefined,
    brokerEpoch: undefined,
    checkpoints: new Map()
  }
}

/** Tells one content of a small file from another. */
export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32)
}

export function formatTopicsFile(file: TopicsFile): Buffer {
  const topics = [...file.topics].map(([name, { topicId, partitions, origin, configs, pending }]) => ({
    name,
    topicId,
    partitions,
    origin,
    configs: [...configs],
    pending
  }))
  const { marker } = file
  const brokerEpoch = file.brokerEpoch?.toString()
  const parts = {
    topics,
    trash: [...file.trash],
    unseen: [...file.unseen],
    marker,
    brokerEpoch,
    checkpoints: [...file.checkpoints]
  }
  const body = Buffer.from(`${JSON.stringify(parts, undefined, 1)}\n`)
  return Buffer.concat([Buffer.from(`${TOPICS_FILE} ${TOPICS_FILE_VERSION} ${body.length} ${crcOf(body)}\n`), body])
}

/**
 * @param path - for messages.
 * @throws {LogError} UNSUPPORTED_VERSION for a newer version (nothing may be written then), CORRUPT_FILE.
 */
export function parseTopicsFile(bytes: Buffer, path: string): TopicsFile {
  const newline = bytes.indexOf(0x0a)
  const head = /^heartwood-topics (\d{1,9}) (\d{1,12}) ([0-9a-f]{8})$/.exec(
    bytes.toString('latin1', 0, Math.max(0, Math.min(newline, 100)))
  )
  if (head === null) throw damaged(path, 'its first line is not ours')
  const version = Number(head[1])
  if (version > TOPICS_FILE_VERSION) {
    const message = `${path} has version ${version}, known are those up to ${TOPICS_FILE_VERSION}: a newer heartwood wrote here`
    throw new LogError('UNSUPPORTED_VERSION', message, { path, version, known: TOPICS_FILE_VERSION })
  }
  if (version < 1) throw damaged(path, `no version is ${version}`)
  const body = bytes.subarray(newline + 1)
  if (body.length !== Number(head[2])) throw damaged(path, `${body.length} bytes where ${head[2]} were announced`)
  if (crcOf(body) !== head[3]) throw damaged(path, 'the checksum is wrong')
  try {
    return fromJson(JSON.parse(body.toString('utf8')))
  } catch (error) {
    throw damaged(path, error instanceof Error ? error.message : String(error))
  }
}

/** `undefined` when the directory has none. */
export async function readTopicsFile(fs: FileSystem, dir: string): Promise<TopicsFile | undefined> {
  const path = join(dir, TOPICS_FILE)
  const bytes = await readWholeFile(fs, path, TOPICS_FILE_MAX_BYTES)
  return bytes === undefined ? undefined : parseTopicsFile(bytes, path)
}

function crcOf(body: Buffer): string {
  return crc32c(body, 0, body.length).toString(16).padStart(8, '0')
}

function damaged(path: string, reason: string): LogError {
  return new LogError('CORRUPT_FILE', `${path} is damaged: ${reason}`, { path })
}

/** The checksum was right, so this refuses only what no version of ours ever wrote. */
function fromJson(value: unknown): TopicsFile {
  const { topics, trash, unseen, marker, brokerEpoch, checkpoints } = object(value)
  return {
    topics: new Map(list(topics).map(topicFrom)),
    trash: new Set(list(trash).map(trashName)),
    unseen: new Set(list(unseen).map(text)),
    marker: marker === undefined ? undefined : markerFrom(object(marker)),
    brokerEpoch: brokerEpoch === undefined ? undefined : BigInt(text(brokerEpoch)),
    checkpoints: new Map(
      list(checkpoints)
        .map(pair)
        .map(([name, digests]) => [text(name), list(digests).map(text)])
    )
  }
}

function topicFrom(value: unknown): [string, TopicEntry] {
  const { name, topicId, partitions, origin, configs, pending } = object(value)
  if (origin !== 'created' && origin !== 'adopted') throw new TypeError('origin is unknown')
  const entry: TopicEntry = {
    topicId: topicId === undefined ? undefined : text(topicId),
    partitions: count(partitions),
    origin,
    configs: new Map(
      list(configs)
        .map(pair)
        .map(([key, setting]) => [text(key), text(setting)])
    ),
    pending: pendingFrom(pending)
  }
  const topic = text(name)
  assertTopicName(topic)
  return [topic, entry]
}

function pendingFrom(value: unknown): TopicEntry['pending'] {
  if (value === undefined || value === 'delete') return value
  const { create } = object(value)
  return { create: list(create).map(count) }
}

function markerFrom({ digest, confirmed }: Record<string, unknown>): TopicsFile['marker'] {
  return { digest: text(digest), confirmed: confirmed === true }
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('not an object')
  return value as Record<string, unknown>
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new TypeError('not a list')
  return value
}

function pair(value: unknown): [unknown, unknown] {
  const items = list(value)
  if (items.length !== 2) throw new TypeError('not a pair')
  return [items[0], items[1]]
}

/** Folders of these names are removed, so nothing else may pass. */
function trashName(value: unknown): string {
  const name = text(value)
  if (!/^[a-zA-Z0-9._-]+-delete$/.test(name)) throw new TypeError('not the name of a deleted folder')
  return name
}

function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError('not a count')
  return value as number
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('not a text')
  return value
}
