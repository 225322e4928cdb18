/**
 * One measurement, in a process of its own: no contestant inherits another's heap, compiled code or open files.
 *
 * The runner passes a `Task` as JSON and reads an `Answer` from the last line of standard output.
 */
import { ENGINE_NAMES, loadEngine } from './engines/load.ts'
import type { Answer, Task } from './harness/outcome.ts'
import type { Context, Question } from './harness/question.ts'
import { SCALES } from './harness/scales.ts'
import { warmPageCache } from './harness/warm.ts'

const DEFAULT_WARM_BYTES = 64 * 1024 * 1024

async function answer(task: Task): Promise<Answer> {
  const { question } = (await import(task.module)) as { question: Question }
  const scale = SCALES[task.scale]
  const row = question.rows(scale).find(({ id }) => id === task.row)
  if (row === undefined) throw new Error(`${question.name} has no row ${task.row}`)
  const { contestant, round, directory, kept } = task
  const context: Context = { row, contestant, scale, round, directory, kept }
  if (task.task === 'prepare') {
    await question.prepare?.(context)
    return { prepared: true }
  }
  warmPageCache(directory, (row.warmBytes ?? DEFAULT_WARM_BYTES) * scale.factor)
  const measurement = await question.measure(context)
  const version = await versionOf(contestant)
  return { measurement, ...(version === undefined ? {} : { version }) }
}

/** Not every contestant is an engine: a bare loop of one question is not. */
async function versionOf(contestant: string): Promise<string | undefined> {
  return ENGINE_NAMES.includes(contestant) ? (await loadEngine(contestant)).version() : undefined
}

function refusal(error: unknown): Answer {
  if (error instanceof Error && error.name === 'RivalMissing') return { missing: error.message }
  return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}

answer(JSON.parse(process.argv[2] ?? '') as Task)
  .catch(refusal)
  .then(result => {
    // Whatever an engine still keeps open must not hold up the round.
    process.stdout.write(`\n${JSON.stringify(result)}\n`, () => process.exit('error' in result ? 1 : 0))
  })
