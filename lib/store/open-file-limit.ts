import { readFileSync } from 'node:fs'

/** Enough for the hot files of any one process; more only helps the system's cache, which has them anyway. */
const MOST = 512
const LEAST = 16
/** Sockets, pipes, the host program's own files, and descriptors that live for one call. */
const RESERVE = 64

/** How many files the store keeps open by default: what the process may open less a reserve, at most 512. */
export function defaultMaxOpenFiles(): number {
  const limit = processLimit()
  if (limit === undefined) return MOST / 2
  return Math.max(LEAST, Math.min(MOST, limit - Math.max(RESERVE, Math.floor(limit / 4))))
}

/** Linux says it in `/proc`; elsewhere Node has no call for it. */
function processLimit(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    if (soft === 'unlimited') return Number.MAX_SAFE_INTEGER
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}
