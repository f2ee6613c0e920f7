create or replace function integrity.probe_approval(as_role text default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  quest_row jsonb;
  application_row jsonb;
  columns text;
  of_quest bigint;
  application_id bigint;
  applicant uuid;
  constraints text;
begin
  quest_row := integrity.made_up_row('public.quests_quest', '{"status": "open"}');

  select coalesce((select person.id from public.users_user as person limit 1), gen_random_uuid())
  into applicant;

  application_row := integrity.made_up_row(
    'public.applications_application',
    jsonb_build_object('status', 'pending', 'applicant_id', applicant, 'quest_id', 0)
  );

  select string_agg(format('%I.%I', schema.nspname, own.conname), ', ')
  into constraints
  from integrity.law as law
  inner join pg_constraint as own
    on
      law.name = own.conname
      and own.contype = 'f'
      and own.condeferrable
  inner join pg_namespace as schema
    on own.connamespace = schema.oid;

  -- From here on, write as the app does, with the rights of as_role.
  if as_role is not null then
    execute format('set local role %I', as_role);
  end if;

  select string_agg(quote_ident(name), ', ')
  into columns
  from jsonb_object_keys(quest_row) as name;
  execute format(
    'insert into public.quests_quest (%1$s)
    select %1$s from jsonb_populate_record(null::public.quests_quest, $1) returning id',
    columns
  )
  into of_quest
  using quest_row;

  select string_agg(quote_ident(name), ', ')
  into columns
  from jsonb_object_keys(application_row) as name;
  execute format(
    'insert into public.applications_application (%1$s)
    select %1$s from jsonb_populate_record(null::public.applications_application, $1) returning id',
    columns
  )
  into application_id
  using application_row || jsonb_build_object('quest_id', of_quest);

  update public.applications_application
  set status = 'approved'
  where
    id = application_id
    and quest_id = of_quest;

  if constraints is not null then
    execute 'set constraints ' || constraints || ' immediate';
  end if;

  if not exists (
    select
    from public.quests_quest as quest
    inner join public.quests_questparticipant as participant
      on quest.id = participant.quest_id
    where
      quest.id = of_quest
      and quest.status = 'in-progress'
      and quest.assigned_to_id = applicant
      and participant.user_id = applicant
      and participant.status = 'joined'
  ) then
    raise exception 'an application was approved, and its applicant is not the quest''s participant and assignee'
      using
        errcode = 'integrity_constraint_violation',
        hint = 'A trigger of the layer is missing or disabled: see integrity.guard_status.';
  end if;

  -- Roll back everything written above.
  raise exception 'probed'
    using errcode = 'QI001';
exception
  when sqlstate 'QI001' then
    null;
end
$$;

comment on function integrity.probe_approval(text) is
'Approves a made-up application to a made-up quest, as the current role or as as_role, checks the result and rolls everything back. Returns nothing when the approval works, else raises its error. Uses up values of identity columns. Called by `quest-integrity guards --probe`.';

revoke all on function integrity.probe_approval(text) from public;
