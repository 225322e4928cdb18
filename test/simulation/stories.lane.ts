/** Every story, on the engine as it is. */
import t from 'tap'
import { simulate } from './simulation.ts'
import { STORIES, scheduleOfStory } from './stories.ts'

t.setTimeout(300_000)

for (const story of STORIES) {
  t.test(story.name, async t => {
    let schedules = 0
    for (let time = 0; time < story.times; time += 1) {
      const { failure, where, schedules: more } = await simulate(scheduleOfStory(story, time), { isTraced: false })
      if (failure !== undefined) t.fail(`time ${time}, ${where}: ${failure.stack}`)
      schedules += more
    }
    t.ok(schedules >= story.times * 9, `${schedules} ends`)
  })
}
