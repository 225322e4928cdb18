import { powerCuts } from './power-cuts.ts'

powerCuts('xfs')
