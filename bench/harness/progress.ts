/** What is seen on standard error while a run lasts: a bar on a terminal, a line for each figure elsewhere. */
import { SingleBar } from 'cli-progress'
import { figure } from './format.ts'
import type { Observer, Step } from './interleave.ts'
import type { Answer } from './outcome.ts'

export interface Progress extends Observer {
  /** Steps that will not happen after all, because a contestant gave up. */
  stop(): void
}

export function showProgress(stderr: NodeJS.WriteStream, total: number): Progress {
  return stderr.isTTY === true ? bar(stderr, total) : lines(stderr)
}

function bar(stderr: NodeJS.WriteStream, total: number): Progress {
  const single = new SingleBar({
    format: '{bar} {value}/{total}, {eta_formatted} left, {step}',
    stream: stderr,
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    etaBuffer: 50
  })
  single.start(total, 0, { step: '' })
  return {
    started: step => single.update({ step: describe(step) }),
    ended: (step, answer) => {
      single.increment()
      // The steps that it will not take now would leave the bar short of its end.
      if (!('measurement' in answer) && !('prepared' in answer)) single.increment(step.rounds - (step.round ?? 0))
    },
    stop: () => single.stop()
  }
}

function lines(stderr: NodeJS.WriteStream): Progress {
  return {
    started: () => {},
    ended: (step, answer) => void stderr.write(`${describe(step)}: ${result(step, answer)}\n`),
    stop: () => {}
  }
}

function describe({ question, row, contestant, round, rounds }: Step): string {
  return `${question} ${row.id} ${round === undefined ? 'preparation' : `round ${round}/${rounds}`} ${contestant}`
}

function result({ row }: Step, answer: Answer): string {
  if ('measurement' in answer) return `${figure(answer.measurement.value)} ${row.unit}`
  if ('missing' in answer) return 'not installed, left out'
  return 'error' in answer ? `failed: ${answer.error.split('\n')[0]}` : 'done'
}
