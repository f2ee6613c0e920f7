-- Everything that the mechanism does with statuses, once, on an empty database: `make docs` plays it and draws what the
-- event log saw.
insert into users_user (
  id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email
)
values
('11111111-1111-4111-8111-111111111111', '!', false, 'questmaster', '', '', false, true, now(), 'qm@example.org'),
('22222222-2222-4222-8222-222222222222', '!', false, 'student', '', '', false, true, now(), 's@example.org');

insert into quests_questcategory (id, name, created_at)
values (1, 'Demo', now());

insert into quests_quest (
  id, title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at,
  requirements, resources, slug, is_deleted, assigned_to_id, category_id, creator_id
)
values (
  1, 'Quest', '', 'easy', 'open', 10, 0, 0, now(), now(),
  '', '', 'quest', false, null, 1, '11111111-1111-4111-8111-111111111111'
);

-- An application is approved, and its participant is deleted.
insert into applications_application (id, status, applied_at, applicant_id, quest_id)
values (1, 'pending', now(), '22222222-2222-4222-8222-222222222222', 1);
update applications_application set status = 'approved'
where id = 1;
delete from quests_questparticipant
where quest_id = 1;

-- It is approved again, and its participant leaves.
update applications_application set status = 'approved'
where id = 1;
update quests_questparticipant set status = 'dropped'
where quest_id = 1;

-- Again, and the approval is taken back while the participant works.
update applications_application set status = 'approved'
where id = 1;
update quests_questparticipant set status = 'in_progress'
where quest_id = 1;
update applications_application set status = 'rejected'
where id = 1;

-- Again, and the approval becomes pending.
update applications_application set status = 'approved'
where id = 1;
update applications_application set status = 'pending'
where id = 1;

-- Again, and the application is deleted.
update applications_application set status = 'approved'
where id = 1;
delete from applications_application
where id = 1;

-- One is inserted as approved, and the participant, who works, is deleted.
insert into applications_application (id, status, applied_at, applicant_id, quest_id)
values (2, 'approved', now(), '22222222-2222-4222-8222-222222222222', 1);
update quests_questparticipant set status = 'in_progress'
where quest_id = 1;
delete from quests_questparticipant
where quest_id = 1;

-- Somebody joins without an application.
insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
values ('joined', now(), '', 1, '22222222-2222-4222-8222-222222222222');
