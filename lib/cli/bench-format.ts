/** Figures, bars and paragraphs of `heartwood bench`, for people. */
import { leavesOf } from '../disk-bench/block-device.ts'
import type { DeviceFacts, MachineFacts } from '../disk-bench/machine-facts.ts'
import { GiB, MiB } from '../util/sizes.ts'

/** Three digits where they are told apart, thousands with commas: `52.9`, `1,184`. */
export function figure(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** Megabytes (10^6) a second. */
export function megabytes(bytesPerSecond: number): string {
  return figure(bytesPerSecond / 1e6)
}

export function size(bytes: number): string {
  return bytes >= GiB ? `${Number((bytes / GiB).toFixed(1))} GiB` : `${Math.round(bytes / MiB)} MiB`
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** A bar of at most `width` cells, in steps of an eighth; what is not 0 shows. Above 1 it is full. */
export function bar(part: number, width = 20): string {
  if (!(part > 0)) return ''
  const eighths = Math.max(Math.round(Math.min(part, 1) * width * 8), 1)
  return '█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]
}

/** Lines of at most `width` columns, the later ones indented. */
export function wrapped(text: string, width: number, indent: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length + indent.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${indent}`)
}

/** `ext4 on /dev/sda1, mounted at /data (rw,relatime)`. */
export function volumeInWords({ fileSystem, source, mountPoint, mountOptions }: DeviceFacts): string {
  const on = source === undefined || source === fileSystem ? '' : ` on ${source}`
  const at = mountPoint === undefined ? '' : `, mounted at ${mountPoint}`
  return `${fileSystem}${on}${at}${mountOptions === undefined ? '' : ` (${mountOptions.join(',')})`}`
}

export function deviceInWords({ device, kind }: DeviceFacts): string {
  if (device === undefined) return kind === 'memory' ? 'none: it is memory' : 'cannot be seen from here'
  const leaves = leavesOf(device)
  const under =
    leaves[0] === device
      ? []
      : [
          `${device.backingFile === undefined ? 'on' : `the file ${device.backingFile} on`} ${leaves.map(leaf => [leaf.name, leaf.model].filter(Boolean).join(' ')).join(', ')}`
        ]
  const isVirtual = leaves.some(leaf => leaf.isVirtual)
  // What a virtual disk says of its platters is what its host did not bother to set.
  const rotational = isVirtual ? undefined : leaves.every(leaf => leaf.isRotational === true)
  return [
    [device.name, device.model].filter(Boolean).join(' '),
    ...under,
    ...(device.bytes === undefined ? [] : [size(device.bytes)]),
    ...(isVirtual ? ['virtual'] : []),
    ...(rotational === undefined ? [] : [rotational ? 'rotating' : 'not rotating']),
    device.writeCache === undefined
      ? 'write cache not told'
      : device.writeCache === 'write back'
        ? 'write back (its cache needs a flush)'
        : 'write through (no volatile cache)'
  ].join(', ')
}

export function machineInWords({ cpus, cpu, memoryBytes, kernel, node, isVirtual }: MachineFacts): string {
  const virtual = isVirtual ? ', virtual machine' : ''
  return `${cpus} x ${cpu}, ${size(memoryBytes)} of memory, ${kernel}, Node ${node.replace(/^v/, '')}${virtual}`
}
