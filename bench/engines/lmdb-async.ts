/** lmdb with asynchronous puts at either level: what its README recommends where many callers write. */
import type { Engine } from './engine.ts'
import { asyncAppender, asyncSettings, version } from './lmdb.ts'

export const engine: Engine = { name: 'lmdb-async', settings: asyncSettings, version, appender: asyncAppender }
