/*
 * What a process passes on to those that it starts, in one number: its kin. A process of the same kin could
 * have been started in its place, so it may do what another was started for (`command/spare/spare.ts`).
 *
 * It covers everything that the kernel tells without anything being changed: the program, the environment,
 * namespaces and root, session, users and capabilities, labels, and what a process may have been given from
 * outside since it was started (`given`): cgroups, limits, scheduling, processors, OOM score. The kernel does not
 * tell of a Landlock domain, of what a seccomp filter says (only of how many there are), and of the session keyring.
 *
 * Included after the numbers of READ, CLOSE, OPENAT, READLINKAT and PRCTL.
 */

#if defined(__x86_64__)
enum {
  GETSID = 124, PERSONALITY = 135, IOPRIO_GET = 252, GET_MEMPOLICY = 239, PRLIMIT64 = 302, SCHED_GETAFFINITY = 204,
  SCHED_GETATTR = 315, STATX = 332
};
#elif defined(__aarch64__)
enum {
  GETSID = 156, PERSONALITY = 92, IOPRIO_GET = 31, GET_MEMPOLICY = 236, PRLIMIT64 = 261, SCHED_GETAFFINITY = 123, SCHED_GETATTR = 275,
  STATX = 291
};
#endif

#define PERSONALITY_ASK 0xffffffffL
#define IOPRIO_WHO_PROCESS 1
#define RESOURCES 16
#define RLIMIT_NOFILE 7
#define PROCESSORS_BYTES 1024
#define NODES_BYTES 128
#define STATX_BASIC_STATS 0x7ff
#define STATX_MNT_ID 0x1000
#define FNV_OFFSET 0xcbf29ce484222325UL
#define FNV_PRIME 0x100000001b3UL
/* More than any of the files has; a process with a longer one has no kin. */
#define FACTS_BYTES 16384

/* struct statx (statx(2)). */
struct facts_of_file {
  unsigned mask, block_size;
  word attributes;
  unsigned links, uid, gid;
  unsigned short mode, spare;
  word inode, size, blocks, attributes_mask;
  word times[6];
  word modified[2];
  unsigned rdev[2], device[2];
  word mount;
  word rest[13];
};
_Static_assert(sizeof(struct facts_of_file) == 256, "as large as what the kernel writes");

static word add(word kin, const void *bytes, long length) {
  const unsigned char *byte = bytes;
  for (; length > 0; length--) kin = (kin ^ *byte++) * FNV_PRIME;
  return kin;
}

static word add_number(word kin, long number) {
  return add(kin, &number, sizeof(number));
}

/* Which file it is, and, for a program, its content. */
static word add_file(word kin, const char *path, int with_content) {
  struct facts_of_file facts;
  long result = call(STATX, AT_FDCWD, (long)path, 0, STATX_BASIC_STATS | STATX_MNT_ID, (long)&facts, 0);
  if (result != 0) return add_number(kin, result);
  kin = add_number(kin, facts.mask & STATX_MNT_ID ? (long)facts.mount : 0);
  kin = add(kin, facts.device, sizeof(facts.device));
  kin = add_number(kin, facts.inode);
  return with_content ? add(add_number(kin, facts.size), facts.modified, sizeof(facts.modified)) : kin;
}

static word add_link(word kin, const char *path) {
  char target[64];
  long length = call(READLINKAT, AT_FDCWD, (long)path, (long)target, sizeof(target), 0, 0);
  return IS_ERROR(length) ? add_number(kin, length) : add(kin, target, length);
}

/* Reads a file of /proc; its length, or a negated errno. */
static long read_facts(const char *path, char *facts) {
  long file = call(OPENAT, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
  if (IS_ERROR(file)) return file;
  long length = 0, count;
  while ((count = call(READ, file, (long)facts + length, FACTS_BYTES - length, 0, 0, 0)) > 0) length += count;
  call(CLOSE, file, 0, 0, 0, 0, 0);
  return length;
}

/* Whether the list of `names` (each ends with a NUL, the list with an empty one) could be read in `folder`, and was added. */
static int add_files(word *kin, const char *folder, const char *names) {
  char path[64], facts[FACTS_BYTES];
  for (const char *name = names; *name; name += length_of(name) + 1) {
    if (!join(path, folder, name)) return 0;
    long length = read_facts(path, facts);
    if (length == FACTS_BYTES) return 0;
    *kin = add(add_number(*kin, length), facts, length);
  }
  return 1;
}

/* The lines of /proc/self/status that begin with one of these. */
static int is_inherited(const char *line) {
  static const char names[] =
      "Umask\0Uid\0Gid\0Groups\0Cap\0NoNewPrivs\0Seccomp\0Speculation\0Cpus_allowed_list\0Mems_allowed_list\0";
  for (const char *name = names; *name; name += length_of(name) + 1)
    if (begins_with(line, name)) return 1;
  return 0;
}

static word add_status(word kin, const char *status, long length) {
  for (long at = 0; at < length;) {
    long end = at;
    while (end < length && status[end] != '\n') end++;
    if (is_inherited(status + at)) kin = add(kin, status + at, end - at);
    at = end + 1;
  }
  return kin;
}

/* The number that is at what a prctl(2) points to. */
static word add_answer(word kin, long question) {
  unsigned answer = 0;
  kin = add_number(kin, call(PRCTL, question, (long)&answer, 0, 0, 0, 0));
  return add_number(kin, answer);
}

/*
 * What others may have given a process since it was started: `folder` is its own in /proc, `process` its id
 * or 0. The engine raises its soft limit of open files. 0 when it cannot be determined.
 */
static word given(const char *folder, long process) {
  static const char files[] = "cgroup\0oom_score_adj\0coredump_filter\0cpu_resctrl_groups\0";
  char processors[PROCESSORS_BYTES];
  unsigned attributes[32] = {0};
  word kin = FNV_OFFSET;
  if (!add_files(&kin, folder, files)) return 0;
  for (long resource = 0; resource < RESOURCES; resource++) {
    word limits[2] = {0, 0};
    call(PRLIMIT64, process, resource, 0, (long)limits, 0, 0);
    kin = add_number(kin, limits[1]);
    if (resource != RLIMIT_NOFILE) kin = add_number(kin, limits[0]);
  }
  kin = add_number(kin, call(SCHED_GETATTR, process, (long)attributes, sizeof(attributes), 0, 0, 0));
  kin = add(kin, attributes, sizeof(attributes));
  kin = add(kin, processors, call(SCHED_GETAFFINITY, process, sizeof(processors), (long)processors, 0, 0, 0));
  return add_number(kin, call(IOPRIO_GET, IOPRIO_WHO_PROCESS, process, 0, 0, 0, 0));
}

/* The kin of this process, which was `given` this and would give `env` to a daemon; 0 when it cannot be determined. */
static word kin_of(word given, char **env) {
  static const char files[] =
      "attr/current\0attr/apparmor/current\0attr/smack/current\0attr/selinux/current\0loginuid\0sessionid\0"
      "timerslack_ns\0";
  static const char namespaces[] =
      "/proc/self/ns/cgroup\0/proc/self/ns/ipc\0/proc/self/ns/mnt\0/proc/self/ns/net\0/proc/self/ns/pid\0"
      "/proc/self/ns/time\0/proc/self/ns/user\0/proc/self/ns/uts\0";
  /* PR_GET_SECUREBITS, PR_MCE_KILL_GET, PR_GET_THP_DISABLE, PR_GET_IO_FLUSHER, PR_GET_MDWE, PR_GET_MEMORY_MERGE */
  static const unsigned char questions[] = {27, 34, 42, 58, 66, 68};
  char status[FACTS_BYTES + 1];
  char nodes[NODES_BYTES] = {0};
  word files_soft[2] = {0, 0};
  int policy = 0;
  word kin = FNV_OFFSET;
  for (; *env; env++) kin = add(kin, *env, length_of(*env) + 1);
  kin = add_number(add_file(add_file(kin, "/proc/self/exe", 1), "/", 0), given);
  for (const char *path = namespaces; *path; path += length_of(path) + 1) kin = add_link(kin, path);
  long length = read_facts("/proc/self/status", status);
  if (!given || length <= 0 || length == FACTS_BYTES || !add_files(&kin, "/proc/self", files)) return 0;
  status[length] = 0;
  kin = add_status(kin, status, length);
  for (unsigned at = 0; at < sizeof(questions); at++) kin = add_number(kin, call(PRCTL, questions[at], 0, 0, 0, 0, 0));
  /* PR_GET_TSC */
  kin = add_answer(kin, 25);
  call(PRLIMIT64, 0, RLIMIT_NOFILE, 0, (long)files_soft, 0, 0);
  kin = add_number(kin, files_soft[0]);
  kin = add_number(kin, call(GETSID, 0, 0, 0, 0, 0, 0));
  kin = add_number(kin, call(GET_MEMPOLICY, (long)&policy, (long)nodes, NODES_BYTES * 8, 0, 0, 0));
  kin = add(add_number(kin, policy), nodes, sizeof(nodes));
  return add_number(kin, call(PERSONALITY, PERSONALITY_ASK, 0, 0, 0, 0, 0));
}
