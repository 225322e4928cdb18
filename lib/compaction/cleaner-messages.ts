/** What a host of cleanings and its worker thread tell each other. Plain data: classes do not go to another thread. */
import { type ErrorCode, type ErrorDetails, LogError } from '../util/errors.ts'
import type { CleanedGroup, CleaningInput, CleaningProgress, CleaningResult } from './cleaning-types.ts'

export type ToWorker =
  | { readonly kind: 'placed' }
  | { readonly kind: 'refused'; readonly error: SentError }
  | { readonly kind: 'cancel' | 'pause' | 'resume' }
  | { readonly kind: 'rate'; readonly bytesPerSecond: number | undefined }

export type FromWorker =
  | { readonly kind: 'group'; readonly group: CleanedGroup }
  | { readonly kind: 'progress'; readonly progress: CleaningProgress }
  | { readonly kind: 'done'; readonly result: CleaningResult }
  | { readonly kind: 'failed'; readonly error: SentError }

/** What a worker is begun with. */
export interface WorkerJob {
  readonly input: CleaningInput
  readonly bytesPerSecond: number | undefined
  readonly paused: boolean
}

export interface SentError {
  /** Of a `LogError`. */
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly details: ErrorDetails
}

export function sentError(error: unknown): SentError {
  if (error instanceof LogError) return { code: error.code, message: error.message, details: { ...error.details } }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: undefined, message, details: {} }
}

export function receivedError({ code, message, details }: SentError): Error {
  return code === undefined ? new Error(message) : new LogError(code, message, details)
}
