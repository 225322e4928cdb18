/** What Kafka's brokers wrote, as a first corpus. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { GOLDEN_VERSIONS } from '../helpers/golden.ts'
import { fixture } from '../helpers/paths.ts'

/** Distinct files whose names end so, the shorter ones, and not too many. */
export function goldenFiles(suffix: string): Buffer[] {
  const found = new Map<string, Buffer>()
  for (const version of GOLDEN_VERSIONS) {
    const top = fixture('golden', version)
    for (const name of readdirSync(top, { recursive: true }) as string[]) {
      const path = join(top, name)
      if (!name.endsWith(suffix) || !statSync(path).isFile() || statSync(path).size > 8192) continue
      const bytes = readFileSync(path)
      found.set(bytes.toString('latin1'), bytes)
    }
  }
  return [...found.values()].slice(0, 40)
}
