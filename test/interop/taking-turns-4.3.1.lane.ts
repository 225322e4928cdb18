import { takingTurns } from './taking-turns.ts'

takingTurns('4.3.1')
