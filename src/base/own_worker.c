/*
 * own_worker.c
 *		Whether this process is a background worker of the extension.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "base/own_worker.h"

bool
is_own_worker(void)
{
	return MyBackendType == B_BG_WORKER &&
		strcmp(MyBgworkerEntry->bgw_library_name, LIBRARY_NAME) == 0;
}
