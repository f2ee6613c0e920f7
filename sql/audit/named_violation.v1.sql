create or replace view integrity.named_violation as
select
  violation.rule,
  violation.severity,
  violation.quest_id,
  coalesce(person.username, violation.user_id::text) as person,
  violation.message,
  violation.repair,
  violation.key
from integrity.violations as violation
left join public.users_user as person
  on violation.user_id = person.id;

comment on view integrity.named_violation is
'integrity.violations with the username in place of the user id; shows the id when the user does not exist.';

revoke all on integrity.named_violation from public;
