/** A copy of the compiled engine and simulator, in which one text at a time is changed. */
import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finished } from '../helpers/binary.ts'
import { projectRoot } from '../helpers/paths.ts'
import type { Mutant } from './mutants.ts'

/** What does not end by itself is wrong as well. */
const LONGEST_MS = 300_000

export interface MutantRun {
  /** What killed it: `seed 7`, or `point WORKLOAD WAY CALL`. */
  readonly by: string
  /** What the checker said. */
  readonly says: string
}

export class MutantCopy {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async make(): Promise<MutantCopy> {
    const folder = await mkdtemp(join(tmpdir(), 'heartwood-mutant-'))
    for (const part of ['lib', 'test/simulation', 'test/helpers'])
      await cp(join(projectRoot, 'dist', part), join(folder, part), { recursive: true })
    for (const name of ['package.json', 'node_modules']) await symlink(join(projectRoot, name), join(folder, name))
    return new MutantCopy(folder)
  }

  /**
   * Lets the simulator try the engine that has this fault (`undefined`: none), and makes it whole again.
   *
   * @param what - as `mutant.child.ts` reads it, one after the other.
   * @returns what killed it, `undefined`: it survives.
   */
  async run(mutant: Mutant | undefined, what: readonly string[]): Promise<MutantRun | undefined> {
    if (mutant === undefined) return this.#try(what)
    const { name, file, find, replace } = mutant
    const path = join(this.#folder, 'lib', `${file}.js`)
    const text = await readFile(path, 'utf8')
    const count = text.split(find).length - 1
    if (count !== 1) throw new Error(`mutant ${name}: its text occurs ${count} times in ${file}.js, and must once`)
    await writeFile(
      path,
      text.replace(find, () => replace)
    )
    try {
      return await this.#try(what)
    } finally {
      await writeFile(path, text)
    }
  }

  async #try(what: readonly string[]): Promise<MutantRun | undefined> {
    const program = join(this.#folder, 'test', 'simulation', 'mutant.child.js')
    const child = spawn(process.execPath, [program, ...what])
    const tooLong = setTimeout(() => child.kill('SIGKILL'), LONGEST_MS)
    const { stdout, stderr } = await finished(child)
    clearTimeout(tooLong)
    // Whatever ends the process otherwise is noticed as well.
    if (!stdout.startsWith('{')) return { by: what[0] as string, says: stderr.slice(-300).replaceAll('\n', ' ') }
    const found = JSON.parse(stdout) as MutantRun | Record<string, never>
    return 'by' in found ? (found as MutantRun) : undefined
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }
}
