/**
 * Inputs that are kept, a file for each decoder in `test/fixtures/fuzz`: `NAME.corpus`, which reach parts of the code
 * that others do not, and `NAME.found`, each of which was a defect once. One a line, in base64.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fixture } from '../helpers/paths.ts'

export type Kind = 'corpus' | 'found'

export function keptInputs(name: string, kind: Kind, folder = fixture('fuzz')): Buffer[] {
  const path = `${folder}/${name}.${kind}`
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'latin1').split('\n')
  return lines.slice(0, -1).map(line => Buffer.from(line, 'base64'))
}

export function keepInputs(name: string, kind: Kind, inputs: readonly Buffer[], folder = fixture('fuzz')): void {
  const lines = [...new Set(inputs.map(input => input.toString('base64')))].sort(
    (a, b) => a.length - b.length || (a < b ? -1 : 1)
  )
  writeFileSync(`${folder}/${name}.${kind}`, lines.map(line => `${line}\n`).join(''), 'latin1')
}
