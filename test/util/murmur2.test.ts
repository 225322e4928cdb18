/** Kafka's own answers: Utils.toPositive(Utils.murmur2(key)) modulo 3, 7 and 1000, printed by kafka-clients 4.3.1. */
import t from 'tap'
import { partitionForKey } from '../../lib/util/murmur2.ts'

const ANSWERS: readonly (readonly [hex: string, of3: number, of7: number, of1000: number])[] = [
  ['', 0, 2, 681],
  ['61', 1, 5, 524],
  ['6162', 2, 0, 434],
  ['616263', 0, 4, 107],
  ['61626364', 2, 5, 100],
  ['6162636465', 1, 4, 741],
  ['6f2d31', 0, 2, 922],
  ['6f2d32', 0, 3, 327],
  ['757365722d3432', 1, 1, 460],
  ['4772c3bcc39f65', 0, 4, 359],
  ['e697a5e69cace8aa9e', 1, 6, 170],
  ['f09f9880', 0, 0, 617],
  ['3031323334353637383961626364656630313233343536373839616263646566', 2, 5, 833],
  ['fffe0080', 2, 6, 184],
  ['80', 2, 1, 492],
  ['99', 1, 3, 381],
  ['183477a35a94', 1, 6, 651],
  ['390b770209d32a595d4a98', 0, 3, 126],
  ['41f4b3e592471abe05194bb55dcab391', 2, 2, 145],
  ['0016175aa147e1f3e98ee81edf7fae40bfe793d9fc', 2, 4, 413],
  ['02e34d15e5c4caaf166fc2edcea4fb1b65e240a4e944b31d0705', 0, 2, 72],
  ['b71cf8bdfc97c696693058b22edd1479f1953297e1c82141a6a46d99364cf4', 0, 3, 943],
  ['b317c99fee614cc5a74b029f8f814e38d93995b694aa2150847891d75da8ddddc46434af', 0, 2, 1],
  ['eb50781ae04364f9b3a3f3707eab79470ba3c885b66c499800da641a22a420ee9989ec985901e416c9', 1, 5, 704],
  ['7ae22a00a4174c64b5144dc69831c2d5e9f8c7dcb1c3a276da03c5c5347dd8728b234273149eb6e9bb0ff5f4111a', 0, 1, 956],
  ['9a0168a981181c9a324f0aec09395a3213018ebde232b69b463dffe94c73ba9c9960c80b6a214cc7b067f90295b0180a98eba8', 2, 3, 151],
  [
    'e9bf8a819b01f5529ebc20efacd4d95a6166595aac5e505cd63fcdf74452a17edaf2ce71419a6512500fcbc182e1ef30721c8d57fcee80ee',
    0,
    5,
    510
  ]
]

t.test('a key goes to the partition that Kafka chooses for it', async t => {
  for (const [hex, of3, of7, of1000] of ANSWERS) {
    const key = Buffer.from(hex, 'hex')
    t.same(
      [3, 7, 1000].map(count => partitionForKey(key, count)),
      [of3, of7, of1000],
      hex
    )
  }
})
