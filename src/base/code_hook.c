/*
 * code_hook.c
 *		Protects settings, and the rights of superusers, from code of users.
 *
 * The check of a domain runs whenever a value of the domain is read, and so also between two
 * elements of an array. If the check sets array_nulls = off, the next NULL would be read as a text.
 * Therefore the settings on which text forms depend, where they are pinned within a row session
 * (session_in_row()), stay pinned whenever no function of a user is running:
 *
 * - What a function has set is undone when the outermost function of a user returns (fmgr_hook).
 * - What an expression sets without such a function, as a check that calls set_config() does, has
 *   no effect (check hooks of the settings). PostgreSQL does not call fmgr_hook for built-in
 *   functions.
 *
 * Within a function, its own settings are in effect. All other settings that it changes last until
 * the row session ends.
 *
 * Where replication_plugin.code_as_owners is on, functions that a superuser's statements call run
 * as their owner, in a restricted context, unless the owner is a superuser too. The setting is on
 * in the extension's workers, in its functions, and in sessions that restore a schema or copy rows.
 * So no function of a user has a superuser's rights there, not even while a statement of the
 * extension is planned (which may compute an index's expression) or reads a literal.
 *
 * A function that is looked up anywhere else is not hooked: in a user's session PostgreSQL may inline
 * the functions of that user, as usual.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "storage/lock.h"
#include "utils/guc_tables.h"
#include "utils/syscache.h"
#include "utils/xml.h"

#include "base/code_hook.h"
#include "base/compat.h"
#include "base/own_worker.h"
#include "base/session.h"

/* The state of the hook for one function. */
typedef struct Call
{
	bool		users;			/* written by a user: counted in depth */
	bool		was_pinned;		/* texts were pinned when it began; of the outermost call */
	Oid			owner;
	/* in its own SET clause, whose nest level PostgreSQL ends before the hook is called */
	bool		has_settings;
	bool		became_owner;	/* the hook has become the owner; the caller was: */
	Oid			user;
	int			security;
	int			nest;			/* of settings; 0: none */
	Datum		next;			/* state of the previous hook */
} Call;

static needs_fmgr_hook_type previous_needs_hook = NULL;
static fmgr_hook_type previous_hook = NULL;

/* The text settings that are held, and the check hooks that they had before. */
typedef enum HeldText
{
	HELD_DATESTYLE,
	HELD_TIMEZONE,
	HELD_MONETARY,
	HELD_TEXTS
} HeldText;

static GucStringCheckHook previous_checks[HELD_TEXTS];

static int	depth = 0;			/* number of functions of users that are running, nested */

static bool has_run = false;	/* there was a row session in this transaction */
static bool as_owners = false;	/* setting replication_plugin.code_as_owners */
static bool many_owners = false;	/* code of several tables' owners runs in this row session */

/* ---------- functions ---------- */

/*
 * Returns true if a user can have written the function. Functions in C belong to superusers, and
 * those of this extension are trusted. *owner and *has_settings receive its owner, and whether it
 * has a SET clause.
 */
static bool
is_users(Oid function, Oid *owner, bool *has_settings)
{
	HeapTuple	tuple;
	Form_pg_proc proc;
	bool		result;

	if (function < FirstNormalObjectId || !IsTransactionState())
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	result = proc->prolang != ClanguageId && proc->prolang != INTERNALlanguageId &&
		proc->pronamespace != get_namespace_oid("replication_plugin", true);
	*owner = proc->proowner;
	*has_settings = !heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL);
	ReleaseSysCache(tuple);
	return result;
}

static bool
code_hook_needs_hook(Oid function)
{
	Oid			owner;
	bool		has_settings;

	return (previous_needs_hook && previous_needs_hook(function)) ||
		   ((as_owners || session_in_row()) && is_users(function, &owner, &has_settings));
}

/*
 * Returns true if a function has to run as its owner: it is called by a statement of a superuser or
 * of another node outside of a row session, or code_hook_many_owners() is on.
 */
static bool
runs_as_owner(const Call *call)
{
	if ((!many_owners && !as_owners) || call->owner == GetUserId() || superuser_arg(call->owner))
		return false;
	return many_owners || (as_owners && !session_in_row() && has_rolreplication(GetUserId()));
}

/*
 * Becomes the owner of a function, where required. Settings that the function changes are undone at
 * its end, unless it has a SET clause.
 */
static void
become_owner(Call *call)
{
	call->became_owner = runs_as_owner(call);
	if (!call->became_owner)
		return;
	call->nest = call->has_settings ? 0 : NewGUCNestLevel();
	GetUserIdAndSecContext(&call->user, &call->security);
	SetUserIdAndSecContext(call->owner, call->security | SECURITY_LOCAL_USERID_CHANGE |
											SECURITY_RESTRICTED_OPERATION);
}

/* Becomes the caller again. After an error, the abort of the subtransaction has done so. */
static void
become_caller(Call *call)
{
	if (call->became_owner)
	{
		session_unpin(call->nest);
		SetUserIdAndSecContext(call->user, call->security);
	}
	call->became_owner = false;
}

/*
 * Function manager hook, called at the beginning and the end of a function. It looks nothing up
 * when the function has failed. A function within which a session has loaded the library has no
 * state: its beginning was not seen.
 */
static void
code_hook_at_function(FmgrHookEventType event, FmgrInfo *flinfo, Datum *private)
{
	Call	   *call = (Call *) DatumGetPointer(*private);

	if (!call && event != FHET_START)
	{
		if (previous_hook)
			previous_hook(event, flinfo, private);
		return;
	}
	if (!call)
	{
		call = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Call));
		call->users = is_users(flinfo->fn_oid, &call->owner, &call->has_settings);
		*private = PointerGetDatum(call);
	}
	if (event == FHET_START && call->users && depth++ == 0)
		call->was_pinned = session_in_row() && session_text_is_pinned();
	if (event == FHET_START && call->users)
		become_owner(call);
	else if (event == FHET_END)
		become_caller(call);
	if (previous_hook)
		previous_hook(event, flinfo, &call->next);
	Assert(event == FHET_START || !call->users || depth > 0);
	if (event != FHET_START && call->users && --depth == 0 && event == FHET_END && call->was_pinned)
		session_restore_text();
}

/* ---------- settings ---------- */

/*
 * Returns true if a setting has to keep its pinned value: an expression changes it, and no
 * function.
 */
static bool
code_hook_is_held(void)
{
	return depth == 0 && session_in_row() && session_text_is_pinned();
}

/* Check hook of array_nulls. */
static bool
hold_array_nulls(bool *newval, void **extra, GucSource source)
{
	if (code_hook_is_held())
		*newval = true;
	return true;
}

/* Check hook of IntervalStyle. */
static bool
hold_interval_style(int *newval, void **extra, GucSource source)
{
	if (code_hook_is_held())
		*newval = INTSTYLE_POSTGRES;
	return true;
}

/* Check hook of xmloption. */
static bool
hold_xml_option(int *newval, void **extra, GucSource source)
{
	if (code_hook_is_held())
		*newval = XMLOPTION_CONTENT;
	return true;
}

/* Replaces the new value of a text setting by the pinned one, where required. */
static bool
hold_text(HeldText held, const char *name, char **newval, void **extra, GucSource source)
{
	GucStringCheckHook previous = previous_checks[held];

	if (code_hook_is_held())
	{
		char	   *pinned = guc_strdup(LOG, session_text_pin(name));

		if (!pinned)
			return false;
		guc_free(*newval);
		*newval = pinned;
	}
	return !previous || previous(newval, extra, source);
}

/* Check hook of DateStyle. */
static bool
hold_datestyle(char **newval, void **extra, GucSource source)
{
	return hold_text(HELD_DATESTYLE, "DateStyle", newval, extra, source);
}

/* Check hook of TimeZone. */
static bool
hold_timezone(char **newval, void **extra, GucSource source)
{
	return hold_text(HELD_TIMEZONE, "TimeZone", newval, extra, source);
}

/* Check hook of lc_monetary. */
static bool
hold_monetary(char **newval, void **extra, GucSource source)
{
	return hold_text(HELD_MONETARY, "lc_monetary", newval, extra, source);
}

/* Puts a check hook in front of the one that a text setting has. */
static void
code_hook_chain(struct config_generic *setting, GucStringCheckHook hook, HeldText held)
{
	struct config_string *s = string_setting(setting);

	Assert(setting->vartype == PGC_STRING && s->check_hook != hook);
	previous_checks[held] = s->check_hook;
	s->check_hook = hook;
}

/* Installs check hooks for the settings on which the reading of a text form depends. */
static void
hold_settings(void)
{
	int			n;
	struct config_generic **all = server_settings(&n);

	for (int i = 0; i < n; i++)
	{
		const char *name = all[i]->name;

		if (strcmp(name, "array_nulls") == 0)
			bool_setting(all[i])->check_hook = hold_array_nulls;
		else if (strcmp(name, "IntervalStyle") == 0)
			enum_setting(all[i])->check_hook = hold_interval_style;
		else if (strcmp(name, "xmloption") == 0)
			enum_setting(all[i])->check_hook = hold_xml_option;
		else if (strcmp(name, "DateStyle") == 0)
			code_hook_chain(all[i], hold_datestyle, HELD_DATESTYLE);
		else if (strcmp(name, "TimeZone") == 0)
			code_hook_chain(all[i], hold_timezone, HELD_TIMEZONE);
		else if (strcmp(name, "lc_monetary") == 0)
			code_hook_chain(all[i], hold_monetary, HELD_MONETARY);
	}
}

void
code_hook_many_owners(bool on)
{
	many_owners = on;
}

/*
 * Transaction callback. Releases the session locks that code of users has taken in a worker, whose
 * session does not end.
 */
static void
give_back_locks(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		many_owners = false;
	if (!has_run || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	has_run = false;
	if (is_own_worker())
		LockReleaseSession(USER_LOCKMETHOD);
}

void
code_hook_note_use(void)
{
	has_run = true;
}

/* Assign hook of replication_plugin.code_as_owners. */
static void
set_as_owners(bool newval, void *extra)
{
	if (newval)
		code_hook_note_use();
}

void
code_hook_install(void)
{
	Assert(previous_checks[HELD_DATESTYLE] == NULL);
	RegisterXactCallback(give_back_locks, NULL);
	previous_needs_hook = needs_fmgr_hook;
	needs_fmgr_hook = code_hook_needs_hook;
	previous_hook = fmgr_hook;
	fmgr_hook = code_hook_at_function;
	hold_settings();
	DefineCustomBoolVariable(
		CODE_AS_OWNERS, "Has functions that statements of a superuser call run as who owns them.",
		"Set by functions and processes of the extension.", &as_owners, false, PGC_USERSET,
		GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, NULL, set_as_owners, NULL);
}
