import { BATCH_TARGETS } from './batch-targets.ts'
import { FILE_TARGETS } from './file-targets.ts'
import type { Target } from './target.ts'
import { TEXT_TARGETS } from './text-targets.ts'

export const TARGETS: readonly Target[] = [...BATCH_TARGETS, ...FILE_TARGETS, ...TEXT_TARGETS]
