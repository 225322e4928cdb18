/**
 * Apache Kafka for the interop lane: its jars, out of Maven, and our Java programs compiled against them. Both are
 * kept in `heartwood-interop` below the user's cache folder, so that only the first run has to fetch and compile.
 */
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { projectRoot } from '../helpers/paths.ts'

const run = promisify(execFile)

export const KAFKA_VERSIONS = ['3.9.2', '4.3.1'] as const
export type KafkaVersion = (typeof KAFKA_VERSIONS)[number]

const sources = join(projectRoot, 'test', 'interop')
const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'heartwood-interop')

/** Why the interop tests cannot run here, or `false`: what tap takes for `skip`. */
export function interopSkip(): string | false {
  for (const tool of ['java', 'javac', 'mvn']) {
    try {
      execFileSync(tool, [tool === 'mvn' ? '--version' : '-version'], { stdio: 'ignore' })
    } catch {
      return `needs ${tool}`
    }
  }
  return false
}

/** The class path of a broker, its tools and our programs. The first call for a version may take minutes. */
export async function kafkaClassPath(version: KafkaVersion): Promise<string> {
  const pom = readFileSync(join(sources, 'pom.xml'))
  const jars = await cached(`kafka-${version}-${digest([pom])}`, async folder => {
    cpSync(join(sources, 'pom.xml'), join(folder, 'pom.xml'))
    // 3.9 has a logging binding of its own; of two, which one wins is left to the order of the jars.
    const which = ['-DincludeScope=runtime', '-DexcludeArtifactIds=slf4j-reload4j', `-DoutputDirectory=${folder}`]
    const goal = ['dependency:copy-dependencies', ...which]
    await run('mvn', ['-q', '-B', `-Dkafka.version=${version}`, ...goal], { cwd: folder, timeout: 600_000 })
  })
  const programs = readdirSync(join(sources, 'java')).sort()
  const paths = programs.map(name => join(sources, 'java', name))
  const key = digest([Buffer.from(jars), ...paths.map(path => readFileSync(path))])
  const classes = await cached(`classes-${version}-${key}`, async folder => {
    await run('javac', ['-nowarn', '-cp', `${jars}/*`, '-d', folder, ...paths], { timeout: 120_000 })
  })
  return `${classes}${delimiter}${jars}/*`
}

function digest(parts: readonly Buffer[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex').slice(0, 12)
}

/** A folder of the cache, filled once. Two processes may fill it at once: the first one's stays. */
async function cached(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cache, name)
  if (existsSync(folder)) return folder
  const work = `${folder}.${process.pid}.part`
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  await fill(work)
  try {
    renameSync(work, folder)
  } catch (problem) {
    if (!existsSync(folder)) throw problem
    rmSync(work, { recursive: true, force: true })
  }
  return folder
}
