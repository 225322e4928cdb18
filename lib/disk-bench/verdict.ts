/**
 * What the figures mean: can this disk's fdatasync be believed, and which durability level can it afford? Pure rules
 * over measured figures, each verdict with the sentences that lead to it.
 *
 * Can it be believed? fdatasync of a 4 KiB write that changes no metadata is one write and, where the device has a
 * volatile cache, one flush. What physics asks of that:
 *
 *     memory (tmpfs)              does nothing: `absent`
 *     any device on a bus         a write there and back takes more than 5 us. Persistent memory has no bus.
 *     flash without capacitors    a flush programs cells: 75 us in the fastest kind, 200 us and more in most. Below
 *                                 50 us it did not happen, or the drive keeps its cache alive (power-loss protection)
 *     a platter                   at 15,000 turns a minute one turn takes 4 ms, and the next sector has just gone by.
 *                                 Below 1 ms nothing reached it; a controller with a battery may stand in between
 *     a virtual disk              below 20 us not even the host's disk was asked. Up to 1 ms it may be flash with
 *                                 protection or the host's memory, and the guest cannot tell them apart
 *
 * A device that says `write through` has no volatile cache and is sent no flush, so only the first bounds hold for it.
 *
 * Which level? `batch` if a single 4 KiB append is synced within 20 ms at p99, and 64 writers together have 1,000
 * acknowledgements a second; else `interval` if a sync takes at most 500 ms, so that one a second leaves the disk
 * time for anything else; else `none`.
 */
import type { Durability } from '../log/log-config.ts'
import { leavesOf } from './block-device.ts'
import type { DeviceFacts, MachineFacts } from './machine-facts.ts'
import type { Latency } from './report.ts'

/**
 * - `absent`: it does nothing here. `too-fast`: it cannot have done what it says, unless what is named in `because`.
 * - `undecidable`: fast, and for two reasons that cannot be told apart from here. `plausible`: it took its time.
 */
export type SyncVerdict = 'absent' | 'too-fast' | 'undecidable' | 'plausible'

export interface SyncJudgement {
  readonly verdict: SyncVerdict
  /** Sentences for people. */
  readonly because: readonly string[]
}

export interface DurabilityAdvice {
  readonly level: Extract<Durability, 'batch' | 'interval' | 'none'>
  readonly because: readonly string[]
}

/** Microseconds below which a sync is not believed. */
export const FASTEST_SYNC_US = { bus: 5, virtual: 20, flash: 50, platter: 1000, unambiguous: 1000 } as const

export const AFFORDABLE = { batchP99Us: 20_000, batchAcksPerSecond: 1000, intervalP99Us: 500_000 } as const

export interface SyncEvidence {
  readonly device: DeviceFacts
  readonly machine: Pick<MachineFacts, 'isVirtual'>
  /** p50 of fdatasync after overwriting 4 KiB; `undefined`: not measured. */
  readonly p50Us: number | undefined
}

export function judgeSync(evidence: SyncEvidence): SyncJudgement {
  const { device, p50Us } = evidence
  const { fileSystem, kind } = device
  if (kind === 'memory') {
    return {
      verdict: 'absent',
      because: [`${fileSystem} is memory: fdatasync does nothing, and a power cut takes everything.`]
    }
  }
  if (p50Us === undefined) return { verdict: 'undecidable', because: ['No sync was measured.'] }
  const off = device.mountOptions?.find(option => option === 'nobarrier' || option === 'barrier=0')
  if (off !== undefined && device.device?.writeCache !== 'write through') {
    const because = `The volume is mounted with ${off}: no sync empties the device's cache. Mount it without.`
    return { verdict: 'too-fast', because: [because] }
  }
  const { verdict, because } = judgeSpeed(evidence, p50Us)
  return { verdict, because: [...because, ...remarks(evidence)] }
}

function judgeSpeed({ device: facts, machine }: SyncEvidence, p50Us: number): SyncJudgement {
  const took = `A sync of 4 KiB takes ${inWords(p50Us)}`
  const { device, kind } = facts
  const leaves = device === undefined ? [] : leavesOf(device)
  if (leaves.length > 0 && leaves.every(({ name }) => name.startsWith('pmem'))) {
    return { verdict: 'plausible', because: [`${took}, on persistent memory.`] }
  }
  if (p50Us < FASTEST_SYNC_US.bus) {
    const because = `${took}: no write reaches a device and comes back in less than ${FASTEST_SYNC_US.bus} us.`
    return { verdict: 'too-fast', because: [because] }
  }
  if (kind !== 'local' || device === undefined) {
    const because = `${took}; what lies behind ${facts.fileSystem} cannot be seen from here: the sync is its server's or its program's word.`
    return { verdict: p50Us < FASTEST_SYNC_US.virtual ? 'too-fast' : 'undecidable', because: [because] }
  }
  if (machine.isVirtual || leaves.some(leaf => leaf.isVirtual)) return judgeVirtual(took, p50Us)
  if (device.writeCache === 'write through') {
    const because = `${took}, and the device says that it has no volatile cache (write through): what is written is safe, if that is true.`
    return { verdict: 'plausible', because: [because] }
  }
  const isPlatter = leaves.every(leaf => leaf.isRotational === true)
  if (isPlatter && p50Us < FASTEST_SYNC_US.platter) {
    const because = `${took}: a platter needs some milliseconds for a turn. Unless a controller with a battery, or flash of the drive's own, stands in between, the flush is not honoured.`
    return { verdict: 'too-fast', because: [because] }
  }
  if (p50Us < FASTEST_SYNC_US.flash) {
    const because = `${took}: flash cannot program its cells in less than ${FASTEST_SYNC_US.flash} us. Either the drive has power-loss protection (look for it in the data sheet), or it does not honour the flush.`
    return { verdict: 'too-fast', because: [because] }
  }
  const because = `${took}: time enough for ${isPlatter ? 'a platter' : 'flash'} to do it.`
  return { verdict: 'plausible', because: [because] }
}

function judgeVirtual(took: string, p50Us: number): SyncJudgement {
  if (p50Us < FASTEST_SYNC_US.virtual) {
    const because = `${took} on a virtual disk: not even the host's disk was asked. The host keeps it in memory (cache=unsafe, or its like).`
    return { verdict: 'too-fast', because: [because] }
  }
  if (p50Us < FASTEST_SYNC_US.unambiguous) {
    const because = `${took} on a virtual disk: as fast as flash with power-loss protection, or as a host that keeps it in memory. From in here the two look the same: ask whoever runs the host whether a guest's flush reaches the disk.`
    return { verdict: 'undecidable', because: [because] }
  }
  const because = `${took} on a virtual disk: time enough for a real flush, which is still the host's word.`
  return { verdict: 'plausible', because: [because] }
}

function remarks({ device }: SyncEvidence): string[] {
  const found = device.device
  if (found?.backingFile === undefined) return []
  return [
    `It is a file (${found.backingFile}) on ${found.parts[0]?.name ?? 'another disk'}: its syncs are that disk's.`
  ]
}

export interface DurabilityEvidence {
  readonly sync: SyncVerdict
  /** fdatasync after appending 4 KiB. */
  readonly append4k: Latency | undefined
  /** Acknowledgements a second at durability `batch`. */
  readonly acks1: number | undefined
  readonly acks64: number | undefined
  /** Records of 100 B a second at durability `none`, with the sync at the end. */
  readonly recordsPerSecond: number | undefined
}

export function adviseDurability(evidence: DurabilityEvidence): DurabilityAdvice {
  const { sync, append4k, acks1, acks64 } = evidence
  if (sync === 'absent') {
    const because = 'Nothing here survives a power cut at any level, so that none loses nothing by it.'
    return { level: 'none', because: [because] }
  }
  if (append4k === undefined) {
    return { level: 'interval', because: ['No sync was measured, so that batch cannot be recommended.'] }
  }
  const { p50Us, p99Us } = append4k
  const sync99 = `A sync takes ${inWords(p50Us)}, one in a hundred ${inWords(p99Us)} or longer`
  const rates = `one writer has ${perSecond(acks1)}, 64 together ${perSecond(acks64)}`
  const caution =
    sync === 'too-fast' ? ['As long as that sync is not explained, batch keeps no more here than none would.'] : []
  if (p99Us <= AFFORDABLE.batchP99Us && (acks64 ?? 0) >= AFFORDABLE.batchAcksPerSecond) {
    const because = `${sync99}; ${rates}.`
    return { level: 'batch', because: [because, ...versusNone(evidence), ...caution] }
  }
  if (p99Us <= AFFORDABLE.intervalP99Us) {
    const because = `${sync99}; ${rates}: too slow for every acknowledgement to wait for it, fast enough for one sync a second.`
    const still = 'Appends that must not be lost can still ask for batch one by one, and share a sync when many wait.'
    return { level: 'interval', because: [because, still, ...caution] }
  }
  const because = `${sync99}: one a second would leave the disk no time for anything else.`
  return { level: 'none', because: [because, ...caution] }
}

function versusNone({ recordsPerSecond }: DurabilityEvidence): string[] {
  if (recordsPerSecond === undefined) return []
  return [
    `Appended 1,000 at a time and synced once at the end, it takes ${Math.round(recordsPerSecond).toLocaleString('en')} records/s.`
  ]
}

function perSecond(acks: number | undefined): string {
  return acks === undefined ? 'an unknown number of acks/s' : `${Math.round(acks).toLocaleString('en')} acks/s`
}

/** `85 us`, `1.2 ms`, `1.5 s`. */
export function inWords(microseconds: number): string {
  if (microseconds < 1000) return `${Number(microseconds.toPrecision(2))} us`
  if (microseconds < 1_000_000) return `${Number((microseconds / 1000).toPrecision(2))} ms`
  return `${Number((microseconds / 1_000_000).toPrecision(2))} s`
}
