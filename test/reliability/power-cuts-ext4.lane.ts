import { powerCuts } from './power-cuts.ts'

powerCuts('ext4')
