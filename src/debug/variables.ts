/** The environment in which the command was called. `main.ts` reads it and passes it to everything else. */

export type Variables = Readonly<Record<string, string | undefined>>;
