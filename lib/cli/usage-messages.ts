/** What the argument parser says, in words that name the option and what it takes. */

/** What a command without options is missing, by its first word. */
const POSITIONALS: Readonly<Record<string, string>> = {
  consume: 'the name of at least one topic',
  dump: 'the path of a file or folder',
  verify: 'the data directory'
}

/** One line for people. `text` is the parser's message, in English; `args` are what it was given. */
export function usageMessage(text: string, args: readonly string[]): string {
  const line = text.replace(/\s*\n\s*/g, ' ').trim()
  if (/^Not enough non-option arguments/.test(line)) {
    return `${POSITIONALS[args.find(arg => !arg.startsWith('-')) ?? ''] ?? 'the name of a topic'} is missing`
  }
  const valueless = /^Not enough arguments following: (\S+)/.exec(line)
  if (valueless !== null) return `--${valueless[1]} takes a value, and none is given`
  const missing = /^Missing required arguments?: (.+)$/.exec(line)
  if (missing !== null) return `${options((missing[1] ?? '').split(', '))} must be given`
  const choice = /Argument: (\S+), Given: "?(.*?)"?, Choices: (.+)$/.exec(line)
  if (choice !== null) {
    const allowed = (choice[3] ?? '').replaceAll('"', '')
    return `--${choice[1]}=${choice[2]} is not allowed: one of ${allowed}`
  }
  const unknown = /^Unknown (?:arguments?|commands?): (.+)$/.exec(line)
  if (unknown !== null) return unknownArguments((unknown[1] ?? '').split(', '), args)
  return line
}

function options(names: readonly string[]): string {
  return names.map(name => `--${name}`).join(' and ')
}

function unknownArguments(names: readonly string[], args: readonly string[]): string {
  // The parser names `--some-option` a second time as `someOption`.
  const given = names.filter(name => args.some(arg => isOption(arg, name)) || args.includes(name))
  const shown = given.length === 0 ? names : given
  return shown.map(name => (args.some(arg => isOption(arg, name)) ? unknownOption(name) : unknownWord(name))).join('; ')
}

function isOption(arg: string, name: string): boolean {
  const option = arg.split('=', 1)[0]
  // `-xy` is two options of one letter.
  return (
    option === `--${name}` || option === `-${name}` || (name.length === 1 && /^-[^-]/.test(arg) && arg.includes(name))
  )
}

function unknownOption(name: string): string {
  return `there is no option ${name.length === 1 ? '-' : '--'}${name} here`
}

function unknownWord(name: string): string {
  return `"${name}" is neither a command nor an option here`
}
