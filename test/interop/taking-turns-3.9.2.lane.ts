import { takingTurns } from './taking-turns.ts'

takingTurns('3.9.2')
