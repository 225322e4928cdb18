/** What a crash may leave of a disk: each way is tried on a copy. */
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Random } from './random.ts'

export interface CrashOutcome {
  readonly name: string
  /** The power went: what was not synced may be anything. Otherwise only the process is gone. */
  readonly isPowerCut: boolean
  /** Changes what is there to what is left. */
  apply(fs: MemoryFileSystem): void
}

export const KILL: CrashOutcome = { name: 'kill', isPowerCut: false, apply: () => undefined }

/** All that was not synced is gone. */
export const DROP_ALL: CrashOutcome = { name: 'drop-all', isPowerCut: true, apply: fs => fs.powerCut() }

/** The system had written everything by itself. */
export const KEEP_ALL: CrashOutcome = {
  name: 'keep-all',
  isPowerCut: true,
  apply: fs => fs.powerCut({ sector: () => 'keep', length: ({ present }) => present, name: () => true })
}

/** Names and lengths are there, and zeros where the content was to be: ext4. */
export const ZEROS: CrashOutcome = {
  name: 'zeros',
  isPowerCut: true,
  apply: fs => fs.powerCut({ sector: () => 'drop', length: ({ present }) => present, name: () => true })
}

/**
 * Each sector, length and change of names fares for itself. A device writes a sector whole or not at all, so that what
 * was durable in one stays; what is new may hold anything. Later writes may be there and earlier ones not.
 */
export function anyhow(seed: number): CrashOutcome {
  return {
    name: `anyhow-${seed}`,
    isPowerCut: true,
    apply: fs => {
      const random = new Random(seed)
      const sectorBytes = random.pick([512, 4096] as const)
      // Now and then names are lost and content is not, or the other way round.
      const keepsNames = random.pick([0, 50, 50, 100])
      const keepsSectors = random.pick([10, 50, 90])
      fs.powerCut({
        sectorBytes,
        sector: ({ isNew }) => {
          if (random.chance(keepsSectors)) return 'keep'
          return random.pick(isNew ? (['drop', 'older', 'zero', 'garble'] as const) : (['drop', 'older'] as const))
        },
        length: ({ durable, present, least, most }) => {
          // A journal was written in between.
          const isOfBetween = least < Math.min(durable, present) || most > Math.max(durable, present)
          if (isOfBetween) return random.pick([durable, present, least, most])
          if (present <= durable) return random.chance(50) ? durable : present
          return random.chance(50) ? present : random.between(durable, present)
        },
        name: () => random.chance(keepsNames)
      })
    }
  }
}
