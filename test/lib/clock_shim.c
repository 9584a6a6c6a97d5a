/*
 * clock_shim.c
 *		Shifts the wall clock of a server under test: preloaded, it adds the number of microseconds in the file
 *		that CLOCK_SHIFT_FILE names. The file can be written to while the server runs. The monotonic clock is left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift = NULL;
static int64_t none = 0;
static int (*real_gettime) (clockid_t, struct timespec *);

/* The file's number, mapped once per process image; children inherit it. */
static int64_t
get_shift(void)
{
	if (!shift)
	{
		const char *name = getenv("CLOCK_SHIFT_FILE");
		int			fd = name ? open(name, O_RDONLY) : -1;
		void	   *p = fd >= 0 ? mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

		shift = p == MAP_FAILED ? &none : p;
		if (fd >= 0)
			close(fd);
		real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	}
	return *shift;
}

/* The shifted wall clock. */
static void
now(struct timespec *t)
{
	int64_t		us = get_shift();

	real_gettime(CLOCK_REALTIME, t);
	us += (int64_t) t->tv_sec * 1000000 + t->tv_nsec / 1000;
	t->tv_sec = us / 1000000;
	t->tv_nsec = us % 1000000 * 1000 + t->tv_nsec % 1000;
}

int
gettimeofday(struct timeval *tv, void *zone)
{
	struct timespec t;

	now(&t);
	tv->tv_sec = t.tv_sec;
	tv->tv_usec = t.tv_nsec / 1000;
	return 0;
}

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	(void) get_shift();
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
		return real_gettime(clock, t);
	now(t);
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec t;

	now(&t);
	if (result)
		*result = t.tv_sec;
	return t.tv_sec;
}
