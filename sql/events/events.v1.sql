create or replace view integrity.events as
select
  happened.id,
  happened.at,
  happened.transaction,
  happened.kind,
  happened.quest_id,
  happened.user_id,
  person.username,
  happened.application_id,
  happened.participant_id,
  happened.before,
  happened.after,
  happened.actor,
  happened.application_name
from integrity.event as happened
left join public.users_user as person
  on happened.user_id = person.id;

comment on view integrity.events is
'The event log with usernames, NULL for users who do not exist any more. `quest-integrity events` writes these columns.';

revoke all on integrity.events from public;
