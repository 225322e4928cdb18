/**
 * `meta.properties` of a data directory: who the directory belongs to.
 *
 * Format: Java properties, one `key=value` a line, comments begin with '#' or '!'.
 *
 *     version 1   version=1, node.id=INT, cluster.id=TEXT, directory.id=UUID     (KRaft)
 *     version 0   version=0, broker.id=INT, cluster.id=TEXT, directory.id=UUID   (ZooKeeper)
 *
 * Invariants:
 *   M1  An existing file is never changed: a broker refuses to start with one that is not its own.
 *   M2  Unknown keys are left alone.
 *
 * Pure. Same as Kafka's MetaProperties (format.md 3.7).
 */
import { LogError } from '../util/errors.ts'
import { randomKafkaUuid } from './uuid.ts'

export const META_PROPERTIES = 'meta.properties'

/** Such a file has five short lines. */
export const META_PROPERTIES_MAX_BYTES = 65536

export interface MetaProperties {
  readonly version: 0 | 1
  readonly clusterId: string | undefined
  /** `node.id`, in version 0 `broker.id`. */
  readonly nodeId: number | undefined
  readonly directoryId: string | undefined
}

/** What a directory of our own gets: node 1 of a cluster of its own. */
export function createMetaProperties(): MetaProperties {
  return { version: 1, clusterId: randomKafkaUuid(), nodeId: 1, directoryId: randomKafkaUuid() }
}

export function formatMetaProperties({ version, clusterId, nodeId, directoryId }: MetaProperties): Buffer {
  const lines = [`version=${version}`]
  if (clusterId !== undefined) lines.push(`cluster.id=${encoded(clusterId)}`)
  if (nodeId !== undefined) lines.push(`${version === 0 ? 'broker.id' : 'node.id'}=${nodeId}`)
  if (directoryId !== undefined) lines.push(`directory.id=${encoded(directoryId)}`)
  return Buffer.from(`${lines.join('\n')}\n`)
}

/**
 * @param path - for messages.
 * @throws {LogError} CORRUPT_FILE when there is no version, or a number is none; UNSUPPORTED_VERSION above 1.
 */
export function parseMetaProperties(bytes: Buffer, path: string): MetaProperties {
  const properties = parseProperties(bytes.toString('utf8'))
  const version = integer(properties.get('version'))
  if (version === undefined) {
    throw new LogError('CORRUPT_FILE', `${path} names no version: this is no meta.properties of Kafka`, { path })
  }
  if (version !== 0 && version !== 1) {
    throw new LogError('UNSUPPORTED_VERSION', `${path} has version ${version}; known are 0 and 1`, { path, version })
  }
  const idKey = version === 0 ? 'broker.id' : 'node.id'
  const idText = properties.get(idKey)
  const nodeId = integer(idText)
  if (idText !== undefined && nodeId === undefined) {
    throw new LogError('CORRUPT_FILE', `${path}: ${idKey} is not a number`, { path, key: idKey })
  }
  return { version, clusterId: properties.get('cluster.id'), nodeId, directoryId: properties.get('directory.id') }
}

/** Keys and values of Java properties; a key that comes twice has its last value. */
export function parseProperties(text: string): Map<string, string> {
  const properties = new Map<string, string>()
  for (const line of logicalLines(text)) {
    // The key ends at the first '=', ':' or white space that no backslash precedes.
    const match = /^((?:[^\\=:\s]|\\[\s\S])*)\s*[=:]?\s*([\s\S]*)$/.exec(line)
    if (match !== null) properties.set(decoded(match[1]!), decoded(match[2]!))
  }
  return properties
}

/** Lines without comments and blank ones; one that ends in an odd number of backslashes goes on in the next. */
function logicalLines(text: string): string[] {
  const lines: string[] = []
  let begun: string | undefined
  for (const natural of text.split(/\r\n|\n|\r/)) {
    const line = natural.replace(/^[ \t\f]+/, '')
    if (begun === undefined && (line === '' || line.startsWith('#') || line.startsWith('!'))) continue
    const whole: string = (begun ?? '') + line
    const trailing = /\\*$/.exec(line)![0].length
    begun = trailing % 2 === 1 ? whole.slice(0, -1) : undefined
    if (begun === undefined) lines.push(whole)
  }
  if (begun !== undefined) lines.push(begun)
  return lines
}

const ESCAPES: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f' }

function decoded(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|([\s\S]))/g, (_all, hex: string | undefined, one: string | undefined) =>
    hex === undefined ? (ESCAPES[one!] ?? one!) : String.fromCharCode(Number.parseInt(hex, 16))
  )
}

/** As Java writes them: what is not printable ASCII by its UTF-16 units, so that no line ends within a value. */
function encoded(text: string): string {
  const unit = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return text.replace(/[\\=:#! ]/g, '\\$&').replace(/[^ -~]/g, unit)
}

function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,10}$/.test(text.trim()) ? Number(text) : undefined
}
