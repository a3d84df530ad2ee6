/**
 * The syntax of Go's `flag` package, which every containerd counts on: one dash or two, `-name value` or
 * `-name=value`, booleans alone or as `-name=true`; the first word that is not a flag ends the flags.
 *
 * Pure, and the same for any program: which flags there are is said in a table.
 */

export interface FlagDefinition {
  readonly isBoolean: boolean;
  /** What the flag means; "" says nothing about it. */
  readonly usage: string;
}

export interface FlagSet {
  /** The program's name, for the usage text. */
  readonly program: string;
  /** By name, without a dash, in the order of the usage text. */
  readonly definitions: Readonly<Record<string, FlagDefinition>>;
}

/** What was given; of a flag that was given twice, the last value. */
export interface Flags {
  readonly kind: "flags";
  readonly texts: ReadonlyMap<string, string>;
  /** The booleans that are true. */
  readonly switches: ReadonlySet<string>;
  /** The words after the flags. */
  readonly rest: readonly string[];
}

/** What to print instead, and the exit code. */
export interface Usage {
  readonly kind: "usage";
  readonly text: string;
  readonly exitCode: number;
}

/** A name and perhaps a value, after one dash or two. */
const FLAG = /^--?([^-=][^=]*)(?:=(.*))?$/s;
/** Asks for the usage text, unless a flag has that name. */
const HELP_WORDS: readonly string[] = ["h", "help"];
const TRUE_WORDS: readonly string[] = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE_WORDS: readonly string[] = ["0", "f", "F", "FALSE", "false", "False"];
const EXIT_USAGE = 2;

/** `args` without the program itself. */
export function parseFlags(set: FlagSet, args: readonly string[]): Flags | Usage {
  const texts = new Map<string, string>();
  const switches = new Set<string>();
  let index = 0;
  for (; index < args.length; index++) {
    const word = args[index] ?? "";
    if (word.length < 2 || !word.startsWith("-")) break;
    if (word === "--") {
      index++;
      break;
    }
    const [, name, given] = FLAG.exec(word) ?? [];
    if (name === undefined) return refuse(set, `bad flag syntax: ${word}`);
    const definition = Object.hasOwn(set.definitions, name) ? set.definitions[name] : undefined;
    if (definition === undefined) {
      if (HELP_WORDS.includes(name)) return { kind: "usage", text: usage(set), exitCode: 0 };
      return refuse(set, `flag provided but not defined: -${name}`);
    }
    if (definition.isBoolean) {
      const isOn = parseBoolean(given ?? "true");
      if (isOn === undefined) {
        const value = JSON.stringify(given);
        return refuse(set, `invalid boolean value ${value} for -${name}: parse error`);
      }
      if (isOn) switches.add(name);
      else switches.delete(name);
      continue;
    }
    const value = given ?? args[++index];
    if (value === undefined) return refuse(set, `flag needs an argument: -${name}`);
    texts.set(name, value);
  }
  return { kind: "flags", texts, switches, rest: args.slice(index) };
}

/** The answer to words that the program does not understand: why, and what it does. */
export function refuse(set: FlagSet, reason: string): Usage {
  return { kind: "usage", text: `${reason}\n${usage(set)}`, exitCode: EXIT_USAGE };
}

function parseBoolean(text: string): boolean | undefined {
  if (TRUE_WORDS.includes(text)) return true;
  return FALSE_WORDS.includes(text) ? false : undefined;
}

function usage({ program, definitions }: FlagSet): string {
  const lines = Object.entries(definitions).map(([name, { isBoolean, usage: text }]) => {
    const head = isBoolean ? `  -${name}` : `  -${name} string`;
    return text === "" ? head : `${head}\n    \t${text}`;
  });
  return `Usage of ${program}:\n${lines.join("\n")}\n`;
}
