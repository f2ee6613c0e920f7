-- The state that the incident log calls SYNC-001, for PeerQuest's tables without the integrity layer:
-- admin's two approved applications, one participant, and quest 5 still open and assigned to nobody.
insert into users_user (
  id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email
)
values
('483ab258-e434-44f3-9da2-73409dd55f55', '!', false, 'admin', '', '', true, true, now(), 'admin@example.org'),
('11111111-1111-4111-8111-111111111111', '!', false, 'questmaster', '', '', false, true, now(), 'qm@example.org');

insert into quests_questcategory (id, name, created_at)
values (1, 'Demo', now());

insert into quests_quest (
  id, title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at,
  requirements, resources, slug, is_deleted, assigned_to_id, category_id, creator_id
)
values
(
  5, 'Test 1.1', '', 'easy', 'open', 10, 0, 0, now(), now(),
  '', '', 'test-1-1', false, null, 1, '11111111-1111-4111-8111-111111111111'
),
(
  17, 'Dummy 1', '', 'easy', 'in-progress', 10, 0, 0, now(), now(),
  '', '', 'dummy-1', false, '483ab258-e434-44f3-9da2-73409dd55f55', 1, '11111111-1111-4111-8111-111111111111'
);

insert into applications_application (id, status, applied_at, reviewed_at, applicant_id, quest_id)
values
(1, 'approved', now(), now(), '483ab258-e434-44f3-9da2-73409dd55f55', 17),
(2, 'approved', now(), now(), '483ab258-e434-44f3-9da2-73409dd55f55', 5);

insert into quests_questparticipant (id, status, joined_at, progress_notes, quest_id, user_id)
values (1, 'joined', now(), '', 17, '483ab258-e434-44f3-9da2-73409dd55f55');

-- The ids above were given by hand; the next ones come from the sequences.
select setval(pg_get_serial_sequence('quests_questcategory', 'id'), 1);
select setval(pg_get_serial_sequence('quests_quest', 'id'), 17);
select setval(pg_get_serial_sequence('applications_application', 'id'), 2);
select setval(pg_get_serial_sequence('quests_questparticipant', 'id'), 1);
