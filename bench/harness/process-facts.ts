/** What Linux says about this process, out of /proc. */
import { readFileSync } from 'node:fs'

/** A figure of /proc/self/status in kB, as bytes: `VmHWM`, the most that was resident; `VmRSS`, what is now. */
export function statusBytes(status: string, field: 'VmHWM' | 'VmRSS'): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)
  if (line === null) throw new Error(`/proc/self/status names no ${field}`)
  return Number(line[1]) * 1024
}

/** A figure of /proc/self/io: `rchar`, bytes that read calls returned; `syscr`, how many there were. */
export function ioCount(io: string, field: 'rchar' | 'wchar' | 'syscr' | 'syscw'): number {
  const line = new RegExp(`^${field}: (\\d+)$`, 'm').exec(io)
  if (line === null) throw new Error(`/proc/self/io names no ${field}`)
  return Number(line[1])
}

export const memoryNow = (): number => statusBytes(readFileSync('/proc/self/status', 'latin1'), 'VmRSS')

export const mostMemory = (): number => statusBytes(readFileSync('/proc/self/status', 'latin1'), 'VmHWM')

export const bytesRead = (): number => ioCount(readFileSync('/proc/self/io', 'latin1'), 'rchar')
