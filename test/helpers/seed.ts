/**
 * The seed of a run. Tests are the same every time unless HEARTWOOD_SEED is set, as the lanes that search longer do;
 * they print it, and it reproduces what they found.
 */
const given = process.env['HEARTWOOD_SEED']

export const SEED = Number(given ?? 1)

/** True in the lanes that take their time. */
export const IS_LONG_RUN = given !== undefined
