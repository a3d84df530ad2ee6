/** The environment that the command was called in. `main.ts` reads it; everybody else is handed it. */

export type Variables = Readonly<Record<string, string | undefined>>;
