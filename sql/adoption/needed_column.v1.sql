create or replace view integrity.needed_column as
select
  needed.relation,
  needed.attribute,
  needed.type,
  needed.is_left_empty,
  needed.is_filled
from (
  values
  ('users_user', 'id', 'uuid', false, false),
  ('users_user', 'username', 'text', false, false),
  ('quests_quest', 'id', 'bigint', false, false),
  ('quests_quest', 'status', 'text', false, false),
  ('quests_quest', 'assigned_to_id', 'uuid', true, false),
  ('quests_quest', 'completed_at', 'timestamp with time zone', false, false),
  ('applications_application', 'id', 'bigint', false, false),
  ('applications_application', 'quest_id', 'bigint', false, false),
  ('applications_application', 'applicant_id', 'uuid', false, false),
  ('applications_application', 'status', 'text', false, false),
  ('quests_questparticipant', 'id', 'bigint', false, false),
  ('quests_questparticipant', 'quest_id', 'bigint', false, true),
  ('quests_questparticipant', 'user_id', 'uuid', false, true),
  ('quests_questparticipant', 'status', 'text', false, true),
  ('quests_questparticipant', 'joined_at', 'timestamp with time zone', false, true),
  ('quests_questparticipant', 'progress_notes', 'text', false, true)
) as needed (relation, attribute, type, is_left_empty, is_filled);

comment on view integrity.needed_column is
'Every app column that the layer uses, with its type; text also stands for character varying. is_left_empty: the layer writes NULL to it. is_filled: an approval sets it when it inserts a participant.';

revoke all on integrity.needed_column from public;
