/**
 * How soon the shims of tests are to sleep, where `WEDGE_TEST_SLEEP` says so: a shim that is asleep whenever
 * possible must pass all tests.
 *
 *     WEDGE_TEST_SLEEP=0.02 npm test -- integration e2e
 */

/** For the environment of what starts shims; nothing is set without the variable. */
export function sleepVariable(): Record<string, string> {
  const seconds = process.env["WEDGE_TEST_SLEEP"];
  return seconds === undefined ? {} : { WEDGE_SLEEP_AFTER_SECONDS: seconds };
}
